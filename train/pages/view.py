"""What a page shows of one video: lanes of marks along time, curves, and how right they are."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from cache_schema.parsing import record

__all__ = [
    "MEASURES",
    "ClassTally",
    "Confusion",
    "Curve",
    "Lane",
    "Mark",
    "VideoView",
    "joined",
    "tallied",
]

Verdict = Literal["", "right", "wrong", "missed"]

MEASURES = {
    "seconds": "share of the annotated seconds that are named right",
    "moments": "share of annotated moments that as many best predictions find (tIoU 0.5)",
    "queries": "mean tIoU of the best span of each query",
    "futures": "1 - edit distance of the best future",
    "": "",
}
"""Unit of the judging -> what the share of right ones means."""


@record
class Mark:
    """Something on a lane."""

    start: float
    end: float
    """Seconds of the video, exclusive."""
    label: str
    score: float | None = None
    verdict: Verdict = ""
    """Empty where nothing is known to compare with."""


@record
class Lane:
    """Marks of one kind under the video."""

    name: str
    kind: Literal["said", "truth", "errors"]
    is_text: bool = False
    """Whether the labels are sentences instead of classes."""
    marks: tuple[Mark, ...] = ()


@record
class Curve:
    """How something changes along a video."""

    name: str
    percent: tuple[int | None, ...]
    """At each of the view's ``times``; None where nothing is said."""


@record
class ClassTally:
    """How much of a class there is, in the unit of the view."""

    label: str
    annotated: float = 0.0
    said: float = 0.0
    right: float = 0.0


@record
class Confusion:
    """How much of one class was called by another name, in the unit of the view."""

    truth: str
    said: str
    amount: float


@record
class VideoView:
    """One video of one task."""

    video: str
    task: str
    duration: float
    lanes: tuple[Lane, ...] = ()
    times: tuple[float, ...] = ()
    """Seconds of the points of all curves."""
    curves: tuple[Curve, ...] = ()
    curve_name: str = ""
    """What the curves are."""
    unit: str = ""
    """Of what is counted here: ``seconds``, ``moments`` or ``queries``."""
    judged: float = 0.0
    """How much there was to compare with."""
    right: float = 0.0
    tallies: tuple[ClassTally, ...] = ()
    confusions: tuple[Confusion, ...] = ()

    @property
    def score(self) -> float | None:
        """Share of what could be judged that is right; None if nothing could."""
        return self.right / self.judged if self.judged else None

    @property
    def num_said(self) -> int:
        """Marks of what the model says."""
        return sum(len(lane.marks) for lane in self.lanes if lane.kind == "said")

    @property
    def num_wrong(self) -> int:
        """Stretches in which something else is true; without such lanes, marks that are errors."""
        stretches = [lane for lane in self.lanes if lane.kind == "errors"]
        verdicts = [mark.verdict for lane in stretches or self.lanes for mark in lane.marks]
        return verdicts.count("wrong") + verdicts.count("missed")


def joined(views: Sequence[VideoView]) -> VideoView:
    """Join the views of several stretches or queries of one video into one.

    Lanes of one name and kind become one; so do curves.
    """
    if len(views) == 1:
        return views[0]
    return replace(
        views[0],
        duration=max(view.duration for view in views),
        lanes=_lanes(views),
        times=tuple(second for view in views for second in view.times),
        curves=_curves(views),
        judged=sum(view.judged for view in views),
        right=sum(view.right for view in views),
        tallies=tallied(tally for view in views for tally in view.tallies),
        confusions=tuple(one for view in views for one in view.confusions),
    )


def tallied(tallies: Iterable[ClassTally]) -> tuple[ClassTally, ...]:
    """Add up the tallies of each class, in the order in which classes first come."""
    sums: dict[str, tuple[float, float, float]] = {}
    for one in tallies:
        annotated, said, right = sums.get(one.label, (0.0, 0.0, 0.0))
        sums[one.label] = (annotated + one.annotated, said + one.said, right + one.right)
    return tuple(
        ClassTally(label=label, annotated=annotated, said=said, right=right)
        for label, (annotated, said, right) in sums.items()
    )


def _lanes(views: Sequence[VideoView]) -> tuple[Lane, ...]:
    lanes: dict[tuple[str, str], Lane] = {}
    for lane in (lane for view in views for lane in view.lanes):
        before = lanes.get((lane.name, lane.kind))
        marks = lane.marks if before is None else before.marks + lane.marks
        in_order = tuple(sorted(marks, key=lambda mark: (mark.start, mark.end)))
        lanes[lane.name, lane.kind] = replace(lane, marks=in_order)
    return tuple(lanes.values())


def _curves(views: Sequence[VideoView]) -> tuple[Curve, ...]:
    names = dict.fromkeys(curve.name for view in views for curve in view.curves)
    return tuple(
        Curve(name=name, percent=tuple(point for view in views for point in _points(view, name)))
        for name in names
    )


def _points(view: VideoView, name: str) -> tuple[int | None, ...]:
    for curve in view.curves:
        if curve.name == name:
            return curve.percent
    return (None,) * len(view.times)
