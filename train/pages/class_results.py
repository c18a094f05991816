"""What a run made of each class: counts, and which class it took for which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from cache_schema.page.charts import chart_json

__all__ = ["ClassCounts", "ClassResults", "confusion_chart"]

MOST_CLASSES = 25
"""Of the heat map: more lines cannot be read on a screen."""
OTHERS = "all others"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassCounts:
    """Seconds of one class, over all videos."""

    label: str
    annotated_seconds: float
    predicted_seconds: float
    right_seconds: float
    """Both annotated and predicted."""

    @property
    def precision(self) -> float | None:
        """Share of what was predicted that is right; None where nothing was."""
        return self.right_seconds / self.predicted_seconds if self.predicted_seconds else None

    @property
    def recall(self) -> float | None:
        """Share of what is annotated that was found; None where nothing is."""
        return self.right_seconds / self.annotated_seconds if self.annotated_seconds else None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassResults:
    """One run on one task."""

    run: str
    task: str
    classes: Sequence[ClassCounts]
    confusion: Mapping[tuple[str, str], float]
    """(annotated, predicted) -> seconds."""


def confusion_chart(confusion: Mapping[tuple[str, str], float]) -> str:
    """Return the heat map of the most annotated classes, as Vega-Lite; a line's shares sum to 1."""
    annotated: dict[str, float] = {}
    for (label, _), seconds in confusion.items():
        annotated[label] = annotated.get(label, 0.0) + seconds
    shown = sorted(annotated, key=lambda label: -annotated[label])[:MOST_CLASSES]
    cells: dict[tuple[str, str], float] = {}
    for (label, predicted), seconds in confusion.items():
        if label in shown and annotated[label]:
            place = (label, predicted if predicted in shown else OTHERS)
            cells[place] = cells.get(place, 0.0) + seconds
    values = [
        {
            "annotated": label,
            "predicted": predicted,
            "seconds": round(seconds, 3),
            "share": round(seconds / annotated[label], 4),
        }
        for (label, predicted), seconds in cells.items()
    ]
    chart = (
        alt.Chart(alt.InlineData(values=values))
        .mark_rect()
        .encode(
            x=alt.X("predicted:N", sort=[*shown, OTHERS], axis=alt.Axis(labelAngle=-60)),
            y=alt.Y("annotated:N", sort=shown),
            color=alt.Color("share:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1])),
            tooltip=["annotated:N", "predicted:N", "seconds:Q", "share:Q"],
        )
        .properties(width="container", height={"step": 18})
    )
    return chart_json(chart)
