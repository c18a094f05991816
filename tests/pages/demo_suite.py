"""The demo's pages in Chromium, and their pictures for the documentation: `make test-page`."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import until

DEMO = Path(os.environ.get("DEMO", "demo-run"))
PICTURES = Path(__file__).parent.parent.parent / "docs" / "assets" / "pages"

PAGES = {
    "predictions": DEMO / "answers.html",
    "run": DEMO / "runs" / "action_segmentation" / "1" / "report.html",
    "store": DEMO / "feats.zarr.report.html",
}
LOOK = {
    # The middle of the longest action of the first video.
    "predictions": """(() => {
      const { lanes } = JSON.parse(document.getElementById('view-0').textContent);
      const [longest] = lanes[0].marks.sort((a, b) => b.end - b.start - (a.end - a.start));
      const time = document.getElementById('time');
      time.value = (longest.start + longest.end) / 2;
      time.dispatchEvent(new Event('input'));
    })()""",
    "run": "0",
    "store": "0",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_demo(open_page, name):
    one = open_page(PAGES[name], viewport={"width": 1200, "height": 1000})
    page = one.page
    page.evaluate(LOOK[name])
    until(page, "[...document.querySelectorAll('[data-chart], #curves')].length > 0")
    page.wait_for_timeout(1500)  # plots and videos are drawn when they are ready
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.jpg", type="jpeg", quality=85)
    assert one.problems == []
    assert all(path.suffix == ".mp4" for path in one.files())


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_of_the_demo_can_be_read_by_everybody(open_page, name, scheme):
    page = open_page(PAGES[name], color_scheme=scheme).page
    page.wait_for_timeout(1500)
    violations = Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in violations] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_demo_fits_a_phone(open_page, name):
    page = open_page(PAGES[name], viewport={"width": 390, "height": 844}).page
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
