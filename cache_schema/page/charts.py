"""Plots of a page: Vega-Lite specifications, and the library that draws them in the browser.

The choice of library: docs/decisions/0011-vega-lite-for-plots.md.
"""

import json
from functools import cache
from importlib.metadata import version

import altair as alt
import vl_convert

from cache_schema.user_cache import keep, kept

__all__ = ["chart_json", "plotting_library"]


@cache
def plotting_library() -> str:
    """Return the JavaScript that draws the specifications, bundled; nothing of it is fetched.

    Bundling takes two seconds, so it is kept in the user's cache folder.
    """
    language = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    name = f"plots/vega-lite-{language}-by-vl-convert-{version('vl-convert-python')}.js"
    if (known := kept(name)) is not None:
        return known.decode()
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=language)
    keep(name, bundle.encode())
    return bundle


def chart_json(chart: alt.TopLevelMixin) -> str:
    """Return the specification of a chart, for ``<figure data-chart>``.

    Colours of axes and text are the page's: ``charts.js`` sets them for light and dark.
    """
    specification = chart.to_dict()
    specification.pop("config", None)
    return json.dumps(specification, separators=(",", ":"))
