"""Pages opened in a real browser: Debian's Chromium, where it is installed.

Everything that goes wrong in a page, and every address that it asks for, is remembered.
"""

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@dataclass
class OpenPage:
    """A page that is open."""

    page: object
    """Playwright's."""
    problems: list[str] = field(default_factory=list)
    """Errors and warnings of its console, and exceptions."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for beside the page itself and what lies in it."""

    def files(self) -> list[Path]:
        """Return the files that were asked for; all requests must be for such."""
        parts = [urlsplit(address) for address in self.requests]
        assert {part.scheme for part in parts} <= {"file"}
        return [Path(unquote(part.path)) for part in parts]


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail("REQUIRE_CHROMIUM=1, but there is no Chromium here", pytrace=False)
        pytest.skip("no Chromium here; with REQUIRE_CHROMIUM=1 this is a failure")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses root, as which containers run.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Return a function: path of a page, and more for ``new_context`` -> ``OpenPage``."""
    contexts = []

    def opened(path, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        one = OpenPage(page)
        page.on("console", lambda message: _note_message(one, message))
        page.on("pageerror", lambda error: one.problems.append(str(error)))
        page.on("request", lambda request: _note_request(one, path, request.url))
        page.goto(Path(path).resolve().as_uri())
        return one

    yield opened
    for context in contexts:
        context.close()


def until(page, expression, seconds=10.0):
    """Wait until a JavaScript expression is true.

    Playwright's own waiting runs text as code inside the page, which its policy forbids.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"after {seconds} s still not true: {expression}"
        page.wait_for_timeout(10)


def _note_message(one, message):
    if message.type in {"error", "warning"}:
        one.problems.append(message.text)


def _note_request(one, path, address):
    is_page = address.partition("#")[0] == Path(path).resolve().as_uri()
    if not is_page and not address.startswith(("data:", "blob:")):
        one.requests.append(address)
