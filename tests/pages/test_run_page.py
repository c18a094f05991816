"""The page of runs in Chromium: curves are drawn, numbers sort, nothing is asked for."""

from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe

from cache_schema.page.document import write_page
from tests.browser import until
from tests.pages.making import EVIL
from tests.train.pages.run_folders import (
    COST,
    checkpoint_of,
    config_of,
    log_of,
    result_of,
    step,
    view,
    write_run,
)
from train.pages.run_facts import read_runs
from train.pages.run_page import run_page

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
NAMES = ("first", "second", "<script>document.title = 'hacked'<|script>")
"""Of folders of runs."""
METRICS = ("accuracy", "other", "third")


def write_runs(folder):
    """Write three runs whose numbers differ."""
    folders = []
    for number, name in enumerate(NAMES, start=1):
        scores = [
            dict(zip(METRICS, (10.0 * epoch * number, 90.0 - 10 * number, 5.0), strict=True))
            for epoch in (1, 2, 3)
        ]
        config = config_of(tuning=EVIL if number == 3 else "basic", seed=number)
        folders.append(
            write_run(
                folder / name,
                checkpoint=replace(checkpoint_of(config, best_epoch=3), encoder_source=EVIL),
                entries=log_of(scores),
                result=result_of(
                    metrics=scores[-1],
                    baselines={"chance": dict.fromkeys(METRICS, 33.0)},
                    missing_videos=(EVIL,),
                    extraction=(replace(COST, device=EVIL),),
                ),
                views=[view(f"v{k}{EVIL}", k / 4, label=EVIL) for k in range(1, 5)],
            )
        )
    return folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def several(folders, tmp_path_factory):
    return written(folders, tmp_path_factory.mktemp("pages") / "several.html")


@pytest.fixture(scope="module")
def single(folders, tmp_path_factory):
    return written(folders[:1], tmp_path_factory.mktemp("pages") / "single.html")


def written(folders, path):
    write_page(run_page(read_runs(folders), path), path)
    return path


def see_all(page):
    """Go through the page: charts are drawn when they come into view."""
    for chart in page.locator("[data-chart]").all():
        chart.scroll_into_view_if_needed()
        until(page, "[...document.querySelectorAll('[data-chart]')].some(one => one.innerHTML)")
    until(
        page,
        "document.querySelectorAll('[data-chart] svg').length === CHARTS".replace(
            "CHARTS", str(page.locator("[data-chart]").count())
        ),
    )


@pytest.fixture(params=["single", "several"])
def opened(open_page, request):
    one = open_page(request.getfixturevalue(request.param))
    see_all(one.page)
    yield one
    assert one.problems == []
    assert one.requests == []


def lines(page, chart):
    """Return the paths of a plot that are lines."""
    figure = page.locator("figure.chart").nth(chart)
    return figure.locator("g.mark-line path[aria-roledescription='line mark']")


def numbers(page, column, table="#scores-1"):
    return page.locator(f"{table} tbody td:nth-child({column})").all_inner_texts()


def test_curves_are_drawn_and_the_best_step_is_marked(opened):
    page = opened.page
    num_runs = 1 if "Run first" in page.title() else 3
    # Loss: as it was and smoothed; metric, evaluation loss and learning rate.
    assert [lines(page, chart).count() for chart in range(4)] == [2 * num_runs, *[num_runs] * 3]
    for chart in range(3):
        figure = page.locator("figure.chart").nth(chart)
        assert figure.locator("g.mark-rule line[stroke-dasharray='5,4']").count() == num_runs
    legends = page.locator("figure.chart").first.locator("g.mark-group.role-legend")
    assert legends.count() == (num_runs > 1)


def test_another_metric_can_be_chosen(opened):
    page = opened.page
    figure = page.locator("figure.chart").nth(1)
    select = figure.locator("select")
    assert select.locator("option").all_inner_texts() == list(METRICS)
    assert select.input_value() == "accuracy"
    before = lines(page, 1).first.get_attribute("d")
    select.select_option("third")
    until(
        page,
        "[...document.querySelectorAll('figure.chart')][1]"
        f".querySelector('g.mark-line path').getAttribute('d') !== '{before}'",
    )
    # The third one is the same in all epochs: a level line.
    points = lines(page, 1).first.get_attribute("d").replace("M", "").split("L")
    assert len({point.split(",")[1] for point in points}) == 1


def test_scores_sort_and_the_best_is_marked(open_page, several):
    page = open_page(several).page
    assert numbers(page, 1) == list(METRICS)
    assert numbers(page, 4) == ["90", "60", "5"]
    head = page.locator("#scores-1 th:nth-child(4)")
    head.locator("button").click()
    assert numbers(page, 4) == ["5", "60", "90"]
    head.locator("button").click()
    assert numbers(page, 1) == ["accuracy", "other", "third"]
    page.locator("#scores-1 th:nth-child(2) button").click()
    assert numbers(page, 2) == ["5", "30", "80"]
    marked = page.locator("#scores-1 td.best")
    assert marked.all_inner_texts() == ["33", "90", "80"]  # chance, the third run, the first


def test_differing_settings_and_cost_are_told(open_page, several):
    page = open_page(several).page
    rows = page.locator("#changed tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == ["train.seed", "train.tuning"]
    assert rows[0].split("\t")[1:] == ["1", "2", "3"]
    told = page.locator(".formula").inner_text()
    # Three epochs of three runs, each of which reads half of what took 100 s.
    assert told.startswith("The cache has paid for itself 8 times in 9 epochs of 3 runs")
    assert "saved 6:40 of decoding and encoding, for 50.0 s spent once" in told


def test_markup_in_names_labels_and_settings_is_text(opened):
    page = opened.page
    assert "hacked" not in page.title()
    assert page.locator("main img, main script:not([type])").count() == 0
    assert page.get_by_text(EVIL).count() > 3
    first = page.locator("#videos tbody td").first.inner_text()
    assert first.startswith(f"v4{EVIL}")
    assert page.locator("#stage-name").inner_text() == first


def test_the_best_and_worst_videos_have_their_time_lines(open_page, single):
    one = open_page(single)
    page = one.page
    right = page.locator("#videos tbody td:last-child").all_inner_texts()
    assert right == ["100 %", "75 %", "50 %", "25 %"]
    page.locator("#videos tbody button").last.click()
    assert page.locator(".lane.errors .mark").count() == 1
    assert page.locator(".lane.truth .mark").count() == 1
    page.keyboard.press("k")
    assert page.locator("#stage-name").inner_text() == f"v2{EVIL}"
    assert one.problems == one.requests == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_its_way(open_page, several, scheme):
    page = open_page(several, color_scheme=scheme).page
    see_all(page)
    found = Axe().run(page)
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found.response["violations"]] == []


def test_a_phone_shows_all_without_scrolling_sideways(open_page, several):
    page = open_page(several, **PHONE).page
    see_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_run_that_has_only_begun_has_a_page_without_videos(open_page, tmp_path):
    folder = write_run(tmp_path / "run", entries=[step(1, 1, 2.0), step(2, 1, 1.5)])
    one = open_page(written([folder], tmp_path / "page.html"))
    see_all(one.page)
    assert one.page.get_by_text("No scores yet").count() == 1
    assert one.page.locator("#videos").count() == 0
    assert one.problems == one.requests == []
