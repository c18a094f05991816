import json
import re
from base64 import b64encode
from hashlib import sha256
from html import unescape

import pytest
from jinja2 import UndefinedError

from cache_schema.page.document import Page, duration, number, safe_json, write_page

PACKAGE = "cache_schema.page"
"""Whose own templates are pages, too: ``base.html.j2`` is an empty one."""


def page(title="A page", **more):
    return Page(title=title, package=PACKAGE, template="base.html.j2", values={}, **more)


def test_text_is_escaped(tmp_path):
    write_page(page(title="<script>alert('a & b')</script>"), tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(&#39;a &amp; b&#39;)&lt;/script&gt;") == 2


@pytest.mark.parametrize("has_charts", [False, True])
def test_the_policy_lets_run_the_scripts_of_the_page_and_nothing_else(tmp_path, has_charts):
    write_page(page(has_charts=has_charts), tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    directives = dict(one.strip().partition(" ")[::2] for one in unescape(policy).split(";"))
    scripts = re.findall("<script>(.*?)</script>", text, flags=re.DOTALL)
    hashes = [b64encode(sha256(one.encode()).digest()).decode() for one in scripts]
    assert directives["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert directives["default-src"] == "'none'"
    assert len(scripts) == (4 if has_charts else 2)
    assert "eval" not in policy


def test_a_page_names_no_other_machine(tmp_path):
    write_page(page(), tmp_path / "p.html")
    assert not re.findall(r"https?://", (tmp_path / "p.html").read_text())


def test_a_page_that_fails_leaves_the_old_one(tmp_path):
    target = tmp_path / "deep" / "p.html"
    write_page(page(), target)
    before = target.read_bytes()
    broken = Page(title="", package=PACKAGE, template="parts.html.j2", values={"title": "twice"})
    with pytest.raises(TypeError):
        write_page(broken, target)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_a_name_that_a_template_lacks_is_an_error(tmp_path):
    package = tmp_path / "made_up_pages"
    (package / "templates").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "templates" / "t.html.j2").write_text("{{ nobody }}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        wrong = Page(title="", package="made_up_pages", template="t.html.j2", values={})
        with pytest.raises(UndefinedError, match="nobody"):
            write_page(wrong, tmp_path / "p.html")


@pytest.mark.parametrize("text", ['["</script>"]', '{"a":"<!--&\'"}'])
def test_json_inside_a_page_is_the_same_json_without_a_sign_of_html(text):
    safe = str(safe_json(text))
    assert not set("<>&'") & set(safe)
    assert json.loads(safe) == json.loads(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (75, "1:15"), (3600, "1:00:00")],
)
def test_seconds_as_a_reader_wants_them(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (12345, "12,345"), (61.254, "61.25"), (0.01234, "0.0123")]
)
def test_numbers_as_a_reader_wants_them(value, shown):
    assert number(value) == shown
