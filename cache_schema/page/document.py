"""A page: a template and what it shows -> one self-contained HTML file.

Everything a page needs lies in it: style, scripts, plots, pictures. A content security policy says
so to the browser, which then runs these very scripts only and asks no other machine for anything.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cache_schema.writing.durable import make_folders, replaced_file

__all__ = ["Page", "write_page"]

STATIC = files("cache_schema.page") / "static"
COMMON_SCRIPTS = ("theme.js", "tables.js")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows, and how."""

    title: str
    package: str
    """Whose ``templates`` folder holds the template, such as ``train.pages``."""
    template: str
    """Extends ``base.html.j2``; text that it shows is escaped."""
    values: Mapping[str, object]
    """Of the template's names. What is an iterator is gone through while the page is written."""
    scripts: Sequence[str] = ()
    """Files of the package's ``static`` folder, beside those of every page."""
    has_charts: bool = False
    """Whether Vega-Lite specifications stand in ``<figure data-chart>`` (``charts.py``)."""
    styles: Sequence[str] = field(default=())
    """Files of the package's ``static`` folder, beside the style of every page."""


def write_page(page: Page, path: Path) -> None:
    """Write a page to a file, which is whole or absent; only a part at a time is in memory."""
    make_folders(path.parent)
    with replaced_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(_text(page))


def _text(page: Page) -> Iterator[str]:
    own = files(page.package) / "static"
    scripts = [(STATIC / name).read_text(encoding="utf-8") for name in COMMON_SCRIPTS]
    if page.has_charts:
        from cache_schema.page.charts import plotting_library

        scripts += [plotting_library(), (STATIC / "charts.js").read_text(encoding="utf-8")]
    scripts += [(own / name).read_text(encoding="utf-8") for name in page.scripts]
    scripts = [_inline(script) for script in scripts]
    style = "\n".join(
        [(STATIC / "page.css").read_text(encoding="utf-8")]
        + [(own / name).read_text(encoding="utf-8") for name in page.styles]
    )
    template = _environment(page.package).get_template(page.template)
    return template.generate(
        title=page.title,
        policy=_policy(scripts),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        **page.values,
    )


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("cache_schema.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    environment.filters["number"] = number
    environment.filters["safe_json"] = safe_json
    return environment


def _inline(script: str) -> str:
    """Return a script as it may stand inside an HTML element."""
    return re.sub(r"<(?=/script|script|!--)", r"\\x3C", script, flags=re.IGNORECASE)


def _policy(scripts: Sequence[str]) -> str:
    """Return the content security policy of a page with these scripts.

    A name or a caption that got through as markup could neither run nor load anything.
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    # 'self' and file: are the videos beside the page; blob: and data: lie in it.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; media-src 'self' file: blob: data:; base-uri 'none'; "
        "form-action 'none'"
    )


def safe_json(text: str) -> Markup:
    r"""Return JSON text as it may stand inside an HTML element; it stays the same JSON.

    >>> safe_json('["</script>"]')
    Markup('["\\u003c/script\\u003e"]')
    """
    for sign in "<>&'":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def duration(seconds: float) -> str:
    """Return seconds for a reader.

    >>> duration(3.25), duration(75), duration(7325.4)
    ('3.2 s', '1:15', '2:02:05')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float | None) -> str:
    """Return a number for a reader, about four digits of it; a dash for none.

    >>> number(61.254), number(0.01234), number(12345), number(None)
    ('61.25', '0.0123', '12,345', '–')
    """
    if value is None:
        return "–"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4f}"
