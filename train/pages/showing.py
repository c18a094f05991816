"""What is said of a video, and what is true -> what a page shows of it."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from train.answer import Answer, Caption, ClassScore, QueryAnswer, Row, Segment
from train.formats.stretches import forecasts, next_classes
from train.pages.judging import (
    Judged,
    judge_futures,
    judge_moments,
    judge_rows,
    judge_spans,
    shown,
    unjudged,
)
from train.pages.view import Curve, Lane, Mark, VideoView
from train.task import TaskFacts

__all__ = ["view_of"]

MOST_CURVES = 6
"""Classes whose probabilities are drawn: more are not told apart."""
MOST_POINTS = 400
"""Of a curve: about what a screen is wide."""
MOST_MOMENTS = 30
"""Best moments that are shown."""
MOST_SPANS = 5
"""Best spans of a query that are shown: as many as the official metrics look at."""


@dataclass(kw_only=True)
class _Parts:
    """A view that is being put together."""

    lanes: list[Lane] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    curve_name: str = ""
    unit: str = ""
    counted: list[Judged] = field(default_factory=list)
    """Comparisons that make the video's score."""

    def count(
        self,
        name: str,
        judged: Judged,
        unit: str,
        truth: str = "annotated",
        *,
        is_text: bool = False,
    ) -> None:
        """Do as ``add``, for the comparison that makes the video's score."""
        self.add(name, judged, truth, is_text=is_text)
        self.unit = unit
        self.counted.append(judged)

    def add(
        self, name: str, judged: Judged, truth: str = "annotated", *, is_text: bool = False
    ) -> None:
        """Add the lanes of a comparison: what is said, what is true, and where they differ."""
        said = tuple(judged.said)
        self.lanes.append(Lane(name=name, kind="said", is_text=is_text, marks=said))
        if judged.truth and truth:
            marks = tuple(judged.truth)
            self.lanes.append(Lane(name=truth, kind="truth", is_text=is_text, marks=marks))
        if judged.errors:
            marks, of = tuple(judged.errors), "" if name == "says" else f" {name}"
            self.lanes.append(Lane(name=f"errors{of}", kind="errors", marks=marks))


def view_of(
    answer: Answer, truth: Answer | None, facts: TaskFacts, rows: Sequence[Row] = ()
) -> VideoView:
    """Return what a page shows of a video.

    Args:
        answer: What a run says of it.
        truth: What is annotated, in the same words; None where nothing is known.
        facts: Of the task.
        rows: How probable classes are, where the answer does not tell (``Answers.row_classes``).
    """
    parts = _Parts()
    if facts.entries == "windows":
        _add_moments(parts, answer.segments, truth)
    elif answer.segments:
        _add_segments(parts, answer, truth)
    _add_forecasts(parts, answer, truth)
    _add_futures(parts, answer, truth)
    _add_captions(parts, answer, truth)
    _add_queries(parts, answer, truth)
    _add_class_curves(parts, answer.rows or rows)
    return VideoView(
        video=answer.video,
        task=answer.task,
        duration=answer.duration,
        lanes=tuple(parts.lanes),
        times=tuple(parts.times),
        curves=tuple(parts.curves),
        curve_name=parts.curve_name,
        unit=parts.unit,
        judged=sum(one.judged for one in parts.counted),
        right=sum(one.right for one in parts.counted),
        tallies=tuple(tally for one in parts.counted for tally in one.tallies),
        confusions=tuple(one for own in parts.counted for one in own.confusions),
    )


# --- lanes -------------------------------------------------------------------------------------


def _add_segments(parts: _Parts, answer: Answer, truth: Answer | None) -> None:
    """Show runs of rows of one class."""
    if truth is None:
        judged = unjudged(answer.segments, in_seconds=True)
    else:
        judged = judge_rows(answer.segments, truth.segments)
    parts.count("says", judged, "seconds")
    if coming := next_classes(answer):
        parts.add("next", Judged(said=[shown(one) for one in coming]))


def _add_moments(parts: _Parts, said: Sequence[Segment], truth: Answer | None) -> None:
    best = said[:MOST_MOMENTS]
    if truth is None:
        judged = unjudged(best, in_seconds=False)
    else:
        judged = judge_moments(best, truth.segments)
    parts.count("moments", judged, "moments")


def _add_forecasts(parts: _Parts, answer: Answer, truth: Answer | None) -> None:
    """Show what is foretold, where it is said; only the nearest instant makes the score."""
    is_first = True
    for seconds, runs in forecasts(answer):
        name = f"in {seconds:g} s"
        if truth is None:
            judged = unjudged(runs, in_seconds=True)
        else:
            judged = judge_rows(runs, truth.segments, ahead=seconds)
        if is_first:
            parts.count(name, judged, "seconds")
        else:
            parts.add(name, judged, truth="")
        is_first = False


def _add_futures(parts: _Parts, answer: Answer, truth: Answer | None) -> None:
    if not answer.futures:
        return
    judged = judge_futures(answer.futures, truth.futures if truth is not None else ())
    parts.count("what comes", judged, "futures", "what came", is_text=True)
    if truth is not None and truth.segments:
        marks = tuple(shown(one) for one in truth.segments)
        parts.lanes.append(Lane(name="annotated", kind="truth", marks=marks))


def _add_captions(parts: _Parts, answer: Answer, truth: Answer | None) -> None:
    if answer.captions:
        annotated = truth.captions if truth is not None else ()
        said, true = (_captions(some, answer.duration) for some in (answer.captions, annotated))
        parts.add("says", Judged(said=said, truth=true), is_text=True)


def _captions(captions: Sequence[Caption], end: float) -> list[Mark]:
    # Annotations do not tell when a video ends, until which their last caption lasts.
    return [
        Mark(
            start=one.start,
            end=one.end if one.end > one.start else max(end, one.start),
            label=one.text,
        )
        for one in captions
    ]


def _add_queries(parts: _Parts, answer: Answer, truth: Answer | None) -> None:
    annotated: dict[str, list[QueryAnswer]] = defaultdict(list)
    for one in truth.queries if truth is not None else ():
        annotated[one.query].append(one)
    for said in answer.queries:
        known = annotated[said.query].pop(0) if annotated[said.query] else None
        best = said.spans[:MOST_SPANS]
        if known is None:
            ranked = [shown(one, label=f"#{rank}") for rank, one in enumerate(best, 1)]
            judged = Judged(said=ranked)
        else:
            judged = judge_spans(best, known.spans)
        parts.count(said.query, judged, "queries", f"{said.query} (annotated)", is_text=True)
        _add_saliency(parts, said, known)


# --- curves ------------------------------------------------------------------------------------


def _add_saliency(parts: _Parts, said: QueryAnswer, known: QueryAnswer | None) -> None:
    """Draw how well each row shows what is asked, and how well it should."""
    sources = [(said.query, said.saliency)]
    if known is not None:
        sources.append((f"{said.query} (annotated)", known.saliency))
    for name, spans in sources:
        if spans:
            seconds = [(one.start + one.end) / 2 for one in spans]
            _add_curves(parts, seconds, {name: [one.score for one in spans]}, "saliency")


def _add_class_curves(parts: _Parts, rows: Sequence[Row]) -> None:
    """Draw how probable the classes are that are the most so over the whole video."""
    said, name = _row_classes(rows)
    total: dict[str, float] = defaultdict(float)
    for classes in said:
        for one in classes:
            total[one.label] += one.probability
    best = sorted(total, key=lambda label: -total[label])[:MOST_CURVES]
    curves = {label: [_probability(classes, label) for classes in said] for label in best}
    if curves:
        _add_curves(parts, [(row.start + row.end) / 2 for row in rows], curves, name)


def _row_classes(rows: Sequence[Row]) -> tuple[list[Sequence[ClassScore]], str]:
    """Return the classes of each row: of itself, else of the nearest instant that it foretells."""
    if any(row.now for row in rows):
        return [row.now for row in rows], "probability"
    if any(row.ahead for row in rows):
        seconds = next(row.ahead[0].seconds for row in rows if row.ahead)
        found = [row.ahead[0].classes if row.ahead else () for row in rows]
        return list(found), f"probability in {seconds:g} s"
    return [row.next for row in rows], "probability of the next row"


def _probability(classes: Sequence[ClassScore], label: str) -> float:
    # What is not among a row's best classes is less probable than these: nothing, for the eye.
    return next((one.probability for one in classes if one.label == label), 0.0)


def _add_curves(
    parts: _Parts, seconds: Sequence[float], curves: dict[str, list[float]], name: str
) -> None:
    """Add curves, thinned to means over neighbours; points of other curves get nothing."""
    size = math.ceil(len(seconds) / MOST_POINTS)
    times = _means(seconds, size)
    before: list[None] = [None] * len(parts.times)
    behind: list[None] = [None] * len(times)
    parts.curves = [replace(one, percent=(*one.percent, *behind)) for one in parts.curves]
    parts.curves += [
        Curve(name=label, percent=(*before, *(round(100 * one) for one in _means(values, size))))
        for label, values in curves.items()
    ]
    parts.times += [round(second, 3) for second in times]
    parts.curve_name = name


def _means(values: Sequence[float], size: int) -> list[float]:
    groups = (values[first : first + size] for first in range(0, len(values), size))
    return [sum(group) / len(group) for group in groups]
