"""Whether features are as long as their videos: an import at another rate does not fit anywhere.

Samples + stream -> how many videos have rows for another time than their annotations say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cache_schema.stream import Stream
from train.data.fit import OTHER_LABEL_RATE, Fit, Misfit, RowEnds, Words, checked
from train.data.samples import FoundVideo, find_video
from train.task import Sample

__all__ = ["Durations", "compare_durations"]

TOLERANCE_SHARE = 0.02
"""Of the duration: 24 for 25 frames a second is more, 29.97 for 30 is less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations(Fit):
    """The videos of a task, and those whose rows end much earlier or later than they should."""

    words: ClassVar[Words] = Words(
        name="durations",
        cases="videos",
        misfits="other",
        seconds="annotated_end_seconds",
        claim="videos have rows for another time than annotated",
        example="{seconds} (rows end at {rows_end})",
        if_few="Their labels may meet the wrong rows.",
        if_many=(
            "Look for a wrong rate or layout of imported features (vllm-store import --preset, "
            f"--seconds-per-row, --fps, --transpose), {OTHER_LABEL_RATE}, or another cut of the "
            "videos."
        ),
    )


def compare_durations(task: str, samples: Sequence[Sample], stream: Stream) -> Durations:
    """Compare how long videos are by their annotations with when their rows end.

    A clip's rows must reach its end; they may go on, unless they are of the clip alone.

    Args:
        task: Name of the task.
        samples: Of all its subsets.
        stream: Where the features are.

    Raises:
        AnnotationError: if more than half of the videos differ.
    """
    ends = RowEnds(stream)
    compared: dict[tuple[str, float], Misfit | None] = {}
    for sample in samples:
        found = find_video(sample, stream)
        if found is None:
            continue
        duration, may_go_on = _annotated(sample, found)
        if duration is None or (found.id, duration) in compared:
            continue
        rows_end, tolerance = ends.of(found)
        tolerance = max(tolerance, TOLERANCE_SHARE * (duration - found.starts_at_seconds))
        fits = rows_end >= duration - tolerance and (may_go_on or rows_end <= duration + tolerance)
        compared[found.id, duration] = (
            None
            if fits
            else Misfit(video=sample.video_id, seconds=duration, rows_end_seconds=rows_end)
        )
    misfits = [one for one in compared.values() if one is not None]
    return checked(Durations, task, len(compared), misfits)


def _annotated(sample: Sample, found: FoundVideo) -> tuple[float | None, bool]:
    """Return when the rows should end, in seconds of the video, and whether they may go on."""
    if sample.duration_seconds is not None:
        return sample.duration_seconds, False
    if sample.end_seconds == math.inf:
        return None, True
    return sample.end_seconds, not found.is_clip_alone
