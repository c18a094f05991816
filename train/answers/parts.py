"""Pieces that the answers and truths of several tasks are made of: segments, classes, seconds.

Shapes: R rows of a video, K classes, 2 start and end seconds.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.answer import ClassScore, Segment
from train.task import Sample, SampleOutput

__all__ = [
    "TOP_CLASSES",
    "best_classes",
    "class_segments",
    "duration",
    "in_seconds",
    "known_until",
    "rounded",
    "true_segment",
]

TOP_CLASSES = 5
"""Classes that are told of a row: what the tasks' own metrics look at."""

Floats = NDArray[np.float64]


def rounded(value: float) -> float:
    """Return a second or a probability with the digits that mean anything."""
    return round(float(value), 6)


def duration(output: SampleOutput) -> float:
    """Return the end of a video's last row."""
    return rounded(output.times_R2[-1, 1])


def in_seconds(fractions_M2: NDArray[np.float32], times_T2: Floats) -> Floats:
    """Return segments that are fractions of a window in seconds of the video.

    Args:
        fractions_M2: Start and end of each.
        times_T2: Of the window's rows.
    """
    start, end = times_T2[0, 0], times_T2[-1, 1]
    seconds_M2: Floats = start + fractions_M2.astype(np.float64) * (end - start)
    return seconds_M2


def known_until(sample: Sample) -> float:
    """Return the last instant that a sample's annotations tell of, 0 where they tell nothing."""
    ends = (sample.end_seconds, *sample.record_ends)
    return rounded(max((end for end in ends if math.isfinite(end)), default=0.0))


def true_segment(start: float, end: float, label: str) -> Segment:
    """Return an annotated segment: there is no doubt about it."""
    return Segment(start=rounded(start), end=rounded(end), label=label, score=1.0)


def best_classes(probabilities_K: Floats, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return the ``TOP_CLASSES`` most probable classes; of equal ones the first.

    What is ruled out, such as background that was not learned, is none of them.
    """
    best = np.argsort(-probabilities_K, kind="stable")[:TOP_CLASSES].tolist()
    return tuple(
        ClassScore(label=names[place], probability=rounded(probabilities_K[place]))
        for place in best
        if probabilities_K[place] > 0
    )


def class_segments(
    classes_R: NDArray[np.int64],
    probabilities_RK: Floats,
    times_R2: Floats,
    names: Sequence[str],
) -> tuple[Segment, ...]:
    """Return the runs of rows of one class, scored by the mean probability of that class.

    A run lasts until the next one starts: rows of a window encoder may overlap.
    """
    starts = np.flatnonzero(np.diff(classes_R, prepend=classes_R[0] - 1))
    stops = np.append(starts[1:], len(classes_R))
    ends = np.append(times_R2[starts[1:], 0], times_R2[-1, 1])
    return tuple(
        Segment(
            start=rounded(times_R2[start, 0]),
            end=rounded(end),
            label=names[classes_R[start]],
            score=rounded(probabilities_RK[start:stop, classes_R[start]].mean()),
        )
        for start, stop, end in zip(starts.tolist(), stops.tolist(), ends.tolist(), strict=True)
    )
