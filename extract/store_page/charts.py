"""The plots of a store's page, as Vega-Lite specifications.

Shapes: D feature dim.
"""

from collections.abc import Mapping

import altair as alt
import numpy as np

from cache_schema.page.charts import chart_json
from extract.store_page.dimensions import DimensionFacts
from extract.store_page.row_map import RowMap

__all__ = ["deviations_chart", "dimensions_chart", "map_chart", "similarity_chart", "stages_chart"]

MAP_HEIGHT = 380
STAGE_HEIGHT = 26
NUM_BINS = 30


def map_chart(row_map: RowMap, colour: str) -> str:
    """Return the map of rows.

    Args:
        row_map: The rows.
        colour: ``group``, ``label``, or ``share``: how far into the video a row is.
    """
    values = [
        {
            "x": float(f"{point.x:.4g}"),
            "y": float(f"{point.y:.4g}"),
            "video": point.video_id,
            "second": round(point.seconds, 2),
            "colour": round(point.share, 3) if colour == "share" else getattr(point, colour) or "–",
        }
        for point in row_map.points
    ]
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=160, title=None)
    if colour == "share":
        scheme = alt.Scale(scheme="viridis", domain=[0, 1])
        shown = alt.Color("colour:Q", scale=scheme, legend=alt.Legend(
            orient="bottom", title="start to end of the video", format=".0%", gradientLength=160,
        ))  # fmt: skip
    else:
        shown = alt.Color("colour:N", scale=alt.Scale(scheme="tableau10"), legend=legend)
    x_title, y_title = (
        f"component {number}: {share:.1%} of the variance"
        for number, share in enumerate(row_map.shares, start=1)
    )
    chart = (
        alt.Chart({"values": values})
        .mark_circle(size=22, opacity=0.7)
        .encode(
            x=alt.X("x:Q", title=x_title, axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("y:Q", title=y_title, axis=alt.Axis(labels=False, ticks=False)),
            color=shown,
            tooltip=["video:N", "second:Q", alt.Tooltip("colour:N", title=colour)],
        )
        .properties(width="container", height=MAP_HEIGHT)
    )
    return chart_json(chart)


def dimensions_chart(facts: DimensionFacts) -> str:
    """Return range and mean of each dimension, its deviation in the tooltip.

    Empty if no value is a number.
    """
    values = [
        {
            name: float(f"{values_D[dim]:.4g}")
            for name, values_D in (
                ("low", facts.low_D),
                ("high", facts.high_D),
                ("mean", facts.mean_D),
                ("deviation", facts.deviation_D),
            )
        }
        | {"dimension": dim}
        for dim in np.flatnonzero(np.isfinite(facts.mean_D)).tolist()
    ]
    if not values:
        return ""
    base = alt.Chart({"values": values}).encode(
        x=alt.X("dimension:Q", scale=alt.Scale(nice=False)),
        tooltip=["dimension:Q", "low:Q", "high:Q", "mean:Q", "deviation:Q"],
    )
    ranges = base.mark_rule(opacity=0.35, color="#4c78a8").encode(
        y=alt.Y("low:Q", title="lowest to highest, mean"), y2="high:Q"
    )
    means = base.mark_point(size=8, filled=True, color="#f58518").encode(y="mean:Q")
    return chart_json((ranges + means).properties(width="container", height=220))


def deviations_chart(facts: DimensionFacts) -> str:
    """Return how many dimensions have which standard deviation, on a scale of factors of ten.

    Empty if none varies.
    """
    found_D = facts.deviation_D[facts.deviation_D > 0]
    if not found_D.size:
        return ""
    edges = np.logspace(np.log10(found_D.min()), np.log10(found_D.max() * 1.001), NUM_BINS + 1)
    counts, _ = np.histogram(found_D, edges)
    values = [
        {"low": float(f"{low:.4g}"), "high": float(f"{high:.4g}"), "dimensions": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    chart = (
        alt.Chart({"values": values})
        .mark_rect()
        .encode(
            x=alt.X("low:Q", title="standard deviation", scale=alt.Scale(type="log", nice=False)),
            x2="high:Q",
            y=alt.Y("dimensions:Q"),
            y2=alt.Y2Datum(0),
            tooltip=["low:Q", "high:Q", "dimensions:Q"],
        )
        .properties(width="container", height=220)
    )
    return chart_json(chart)


def similarity_chart(similarities: list[float]) -> str:
    """Return how near each video's nearest neighbour is."""
    chart = (
        alt.Chart({"values": [{"similarity": round(value, 3)} for value in similarities]})
        .mark_bar()
        .encode(
            x=alt.X("similarity:Q", bin=alt.Bin(step=0.05), title="cosine with the nearest video"),
            y=alt.Y("count():Q", title="videos"),
            tooltip=[alt.Tooltip("count():Q", title="videos")],
        )
        .properties(width="container", height=180)
    )
    return chart_json(chart)


def stages_chart(seconds: Mapping[str, float]) -> str:
    """Return the seconds each stage was at work."""
    values = [{"stage": stage, "seconds": round(value, 1)} for stage, value in seconds.items()]
    chart = (
        alt.Chart({"values": values})
        .mark_bar()
        .encode(
            x=alt.X("seconds:Q", title="seconds at work, all workers together"),
            y=alt.Y("stage:N", title=None, sort=None),
            tooltip=["stage:N", "seconds:Q"],
        )
        .properties(width="container", height=STAGE_HEIGHT * len(values))
    )
    return chart_json(chart)
