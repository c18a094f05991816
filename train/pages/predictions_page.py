"""The page of a prediction: what was said of each video, beside the video, and what was right."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import altair as alt

from cache_schema.page.charts import chart_json
from cache_schema.page.document import Page
from cache_schema.parsing import to_mapping
from train.pages.media import Media
from train.pages.view import MEASURES, ClassTally, Confusion, VideoView
from train.pages.view_file import ViewFile, Views

__all__ = [
    "PLAYER",
    "class_table",
    "confusion_chart",
    "curve_chart",
    "predictions_page",
    "view_block",
    "view_blocks",
]

PLAYER = ("players.js", "player.js")
"""Scripts of what shows single videos."""

MOST_CONFUSED = 25
"""Classes of a confusion chart."""

Columns = tuple[tuple[str, str], ...]


def predictions_page(
    title: str,
    about: Sequence[tuple[str, str]],
    views: ViewFile,
    total: Views,
    media: Callable[[VideoView], Media],
) -> Page:
    """Return the page of the views of one task.

    Args:
        title: Of the page.
        about: Facts by name that stand above.
        views: Of all videos.
        total: What they say together.
        media: Returns what the page has of a video; called while the page is written.
    """
    columns, rows = class_table(total.tallies, total.unit)
    return Page(
        title=title,
        package="train.pages",
        template="predictions.html.j2",
        values={
            "about": about,
            "summaries": total.summaries,
            "measure": MEASURES[total.unit] if total.judged else "",
            "unit": total.unit,
            "class_caption": f"Classes, in {total.unit}",
            "class_columns": columns,
            "classes": rows,
            "confusion": confusion_chart(total.confusions),
            "labels": total.labels,
            "curve_chart": curve_chart(),
            "blocks": view_blocks(views, media),
        },
        scripts=PLAYER,
        styles=("player.css",),
        has_charts=True,
    )


def view_blocks(
    views: Iterable[VideoView], media: Callable[[VideoView], Media]
) -> Iterator[tuple[str, str]]:
    """Yield what ``player.js`` reads of each video: the view, and its media."""
    for view in views:
        yield view_block(view, media(view))


def view_block(view: VideoView, media: Media) -> tuple[str, str]:
    """Return what ``player.js`` reads of one video, as JSON texts."""
    plain = to_mapping(view)
    shown = {key: plain[key] for key in ("video", "duration", "lanes", "times", "curves")}
    shown["curve_name"] = view.curve_name
    return json.dumps(shown, separators=(",", ":")), media.to_json()


def class_table(tallies: Sequence[ClassTally], unit: str) -> tuple[Columns, list[list[object]]]:
    """Return columns and rows of a table of classes, the most frequent first."""
    if not any(one.annotated for one in tallies):
        frequent = sorted(tallies, key=lambda one: -one.said)
        head = (("class", "text"), (f"said {unit}", "number"))
        return head, [[one.label, round(one.said, 2)] for one in frequent]
    columns = (
        ("class", "text"),
        (f"annotated {unit}", "number"),
        (f"said {unit}", "number"),
        ("right", "number"),
        ("precision %", "number"),
        ("recall %", "number"),
        ("F1 %", "number"),
    )
    rows: list[list[object]] = []
    for one in sorted(tallies, key=lambda tally: -tally.annotated):
        precision = _percent(one.right, one.said)
        recall = _percent(one.right, one.annotated)
        harmonic = _percent(2 * one.right, one.said + one.annotated)
        amounts = [round(amount, 2) for amount in (one.annotated, one.said, one.right)]
        rows.append([one.label, *amounts, precision, recall, harmonic])
    return columns, rows


def _percent(part: float, whole: float) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def confusion_chart(confusions: Sequence[Confusion]) -> str:
    """Return the chart of what was taken for what; empty if nothing was judged.

    Of many classes those are shown of which there is most.
    """
    amounts: dict[str, float] = {}
    for one in confusions:
        amounts[one.truth] = amounts.get(one.truth, 0.0) + one.amount
        amounts.setdefault(one.said, 0.0)
    best = sorted(amounts, key=lambda label: -amounts[label])[:MOST_CONFUSED]
    values = [
        {
            "true": one.truth,
            "said": one.said,
            "amount": round(one.amount, 2),
            "share": round(one.amount / amounts[one.truth], 4),
        }
        for one in confusions
        if one.truth in best and one.said in best
    ]
    if not values:
        return ""
    order = sorted(best)
    across = alt.Axis(labelAngle=-60, labelLimit=140, labelOverlap=True)
    chart = (
        alt.Chart({"values": values})
        .mark_rect()
        .encode(
            x=alt.X("said:N", sort=order, axis=across),
            y=alt.Y("true:N", sort=order, axis=alt.Axis(labelLimit=160)),
            color=alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1])),
            tooltip=["true:N", "said:N", "amount:Q", alt.Tooltip("share:Q", format=".0%")],
        )
        .properties(width="container", height=20 * len(order))
    )
    return chart_json(chart)


def curve_chart() -> str:
    """Return the chart of curves along a video; ``player.js`` puts in points and length.

    It has no room beside the plot, so that seconds lie exactly below those of the lanes.
    """
    length = alt.param(name="length", value=1)
    inside = alt.Axis(
        orient="left",
        values=[0, 50, 100],
        format="d",
        title=None,
        ticks=False,
        domain=False,
        labelAlign="left",
        labelBaseline="bottom",
        labelPadding=-4,
    )
    chart = (
        alt.Chart(alt.NamedData("points"))
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X(
                "second:Q", scale=alt.Scale(domain=[0, {"expr": "length"}], nice=False), axis=None
            ),
            y=alt.Y("percent:Q", scale=alt.Scale(domain=[0, 100]), axis=inside),
            color=alt.Color(
                "name:N", legend=alt.Legend(orient="bottom", columns=3, labelLimit=260)
            ),
            tooltip=["name:N", "percent:Q", "second:Q"],
        )
        .properties(width="container", height=140, padding=0)
        .add_params(length)
    )
    return chart_json(chart)
