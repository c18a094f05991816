"""The pages: the site builds, loads nothing from elsewhere, and names what there is."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = ("cache_schema", "extract", "train")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site: a dead link, a forgotten page and a broken reference are errors."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # hides a notice about a successor
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_shows_the_public_names_of_a_package(site, package):
    page = (site / "reference" / f"{package}.html").read_text(encoding="utf-8")
    public = [name for name in getattr(import_module(package), "__all__", []) if name[0] != "_"]
    names = [package, *(f"{package}.{name}" for name in public)]
    assert [name for name in names if f'id="{name}"' not in page] == []


class Page(HTMLParser):
    """What a browser fetches for a page, and its paragraphs."""

    def __init__(self):
        super().__init__()
        self.fetched = []
        self.paragraphs = []
        self.is_in_paragraph = False

    def handle_starttag(self, tag, attributes):
        self.is_in_paragraph |= tag == "p"
        if tag == "p":
            self.paragraphs.append("")
        names = dict(attributes)
        if tag == "link" and names.get("rel") != "canonical":
            self.fetched.append(names["href"])
        self.fetched += [names[key] for key in ("src", "srcset") if names.get(key)]

    def handle_endtag(self, tag):
        self.is_in_paragraph &= tag != "p"

    def handle_data(self, data):
        if self.is_in_paragraph:
            self.paragraphs[-1] += data


def test_a_browser_fetches_nothing_from_elsewhere(site):
    fetched = {
        address
        for path in site.rglob("*.html")
        for address in parsed(path.read_text(encoding="utf-8")).fetched
    }
    styles = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    fetched |= set(re.findall(r"(?:url\(|@import )[\"']?([^\"')\s]+)", styles))
    assert "assets/site.css" in fetched  # it does look
    elsewhere = {text for text in fetched if re.match(r"(\w+:)?//", text)}
    assert elsewhere == set()


def test_lists_and_tables_are_not_taken_for_text(site):
    """Code hosts begin them in the middle of a paragraph, the site does so after an empty line."""
    for path in site.rglob("*.html"):
        for text in parsed(path.read_text(encoding="utf-8")).paragraphs:
            assert not re.search(r"^(- |\|)", text, re.MULTILINE), f"{path.name}: {text}"


def parsed(html):
    page = Page()
    page.feed(html)
    return page


def code_blocks(path):
    return re.findall(r"^```\w*\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def named_in_trees(path):
    """Return the paths that a page's file trees name: by indentation, up to two spaces."""
    named = set()
    for block in code_blocks(path):
        if not re.search(rf"^({'|'.join(PACKAGES)})/", block, re.M):
            continue
        folders = {}
        for line in block.splitlines():
            indent = len(line) - len(line.lstrip())
            for name in re.split(r"\s{2,}", line.strip())[0].split():
                full = folders.get(indent - 2, "") + name
                named.add(full)
                if name.endswith("/"):
                    folders[indent] = full
    return named


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_what_a_tree_names_exists(page):
    named = named_in_trees(ROOT / page)
    assert "cache_schema/recipe.py" in named  # it does look
    assert [name for name in sorted(named) if not is_there(name)] == []


def is_there(name):
    path = ROOT / name
    return path.is_dir() if name.endswith("/") else path.is_file()


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_every_room_is_in_the_tree(page):
    rooms = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in PACKAGES
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert rooms - named_in_trees(ROOT / page) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    folders = "|".join((*PACKAGES, "benchmarks", "demo", "docs", "tests"))
    named = re.findall(rf"[`\s]((?:{folders})/[\w./-]*\w/?)[`\s,;:)]", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_a_page_outside_the_site_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)|^\[[^]]+\]: (\S+)$", text, re.MULTILINE)
    paths = [name for name in map("".join, targets) if "://" not in name]
    assert [name for name in paths if not (ROOT / name).is_file()] == []
    used = set(re.findall(r"\]\[([^]]+)\]", text))
    defined = set(re.findall(r"^\[([^]]+)\]: ", text, re.MULTILINE))
    assert used == defined


def commands():
    """Yield every call of a command that these pages show; a picture names them without a call."""
    for page in ("README.md", "docs/extract.md", "docs/training.md"):
        for block in code_blocks(ROOT / page):
            for line in block.replace("\\\n", " ").splitlines():
                if (
                    line.startswith("vllm-")
                    and not line.endswith("vllm-train")
                    and "ARGUMENTS" not in line
                ):
                    yield shlex.split(line, comments=True)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_a_command_that_a_page_shows_is_one(words):
    name, *arguments = words
    module = import_module(SCRIPTS[name].partition(":")[0])
    found = [value for value in vars(module).values() if isinstance(value, click.Command)]
    groups = [value for value in found if isinstance(value, click.Group)]
    command = groups[0].commands[arguments.pop(0)] if groups else found[0]
    command.make_context(name, arguments)  # raises a UsageError
