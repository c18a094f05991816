"""Stored rows joined with labels in seconds, as plain arrays: for training loops of one's own.

Knows nothing of torch.

Shapes: R rows of one video, 2 start and end seconds, S segments.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.parsing import nearest
from cache_schema.stream import Stream
from train.data.row_times import ROUNDING_SECONDS
from train.task import IGNORED

__all__ = ["LabelledRows", "rows_with_labels"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRows:
    """All rows of one video and the label of each."""

    values: NDArray[np.float32]
    """(R, *row_shape), numbers to compute with whatever is stored."""
    times_R2: NDArray[np.float64]
    """Start and end second of each row."""
    labels_R: NDArray[np.int64]
    """Index into ``label_names``; -100 (``IGNORED``) where no segment covers the row's centre,
    which torch's losses leave out."""
    label_names: tuple[str, ...]


def rows_with_labels(
    stream: Stream,
    video_id: str,
    segments: Iterable[tuple[float, float, str]],
    *,
    label_names: Sequence[str] | None = None,
) -> LabelledRows:
    """Return the rows of a video, each with the label of the segment that covers its centre.

    That is the rule by which action segmentation labels rows.

    Args:
        stream: Where the features are.
        video_id: Its id, or the part behind the last ``/`` where that is enough.
        segments: (start second, end second, label) in any order; half-open ``[start, end)``,
            without overlaps. An end may be infinite.
        label_names: The labels in the order of their numbers. Give it for several videos, which
            must count alike; None takes the labels of these segments, sorted.

    Raises:
        StoreError: if the stream does not hold the video.
        AnnotationError: if segments overlap, a segment is empty, or a label has no number.
    """
    ordered = sorted(segments)
    _check(ordered, video_id)
    names = tuple(
        sorted({label for _, _, label in ordered}) if label_names is None else label_names
    )
    rows = stream.read(stream.resolve(video_id) or video_id)
    numbers_S = np.array([_number(label, names, video_id) for _, _, label in ordered], np.int64)
    covering_R = _covering(ordered, rows.times_R2.mean(axis=1))
    # Where no segment covers a row, covering_R is -1: the number that is put last.
    labels_R = np.append(numbers_S, IGNORED)[covering_R]
    return LabelledRows(
        values=rows.float32, times_R2=rows.times_R2, labels_R=labels_R, label_names=names
    )


def _check(ordered: Sequence[tuple[float, float, str]], video_id: str) -> None:
    before = -math.inf
    for start, end, label in ordered:
        if not -math.inf < start < end:
            raise AnnotationError(
                f"'{video_id}': segment '{label}' is [{start}, {end}), expected seconds with start "
                "before end."
            )
        if start < before - ROUNDING_SECONDS:
            raise AnnotationError(
                f"'{video_id}': segment '{label}' starts at {start} s, before the one ahead of it "
                f"ends ({before} s). Each row has one label: leave one out, or label twice."
            )
        before = end


def _number(label: str, names: Sequence[str], video_id: str) -> int:
    if label not in names:
        raise AnnotationError(
            f"'{video_id}': label '{label}' is not among label_names. {nearest(label, names)}"
        )
    return names.index(label)


def _covering(
    ordered: Sequence[tuple[float, float, str]], centres_R: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the index of the segment that covers each instant, -1 where none does."""
    starts_S = np.array([start for start, _, _ in ordered])
    ends_S = np.array([*(end for _, end, _ in ordered), -math.inf])
    # A centre on a segment's start must not fall into the one before by a rounding error.
    instants_R = centres_R + ROUNDING_SECONDS
    latest_R = np.searchsorted(starts_S, instants_R, side="right") - 1
    return np.where(instants_R < ends_S[latest_R], latest_R, -1)
