"""Whether annotations and features are of the same videos and in the same unit of time.

Samples + stream -> how many annotated records end behind the rows of their video.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cache_schema.stream import Stream
from train.data.fit import OTHER_LABEL_RATE, Fit, Misfit, RowEnds, Words, checked
from train.data.samples import find_video
from train.task import Sample

__all__ = ["RecordEnds", "record_ends_beyond"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEnds(Fit):
    """The records of a task, and those that end behind the rows of their video."""

    words: ClassVar[Words] = Words(
        name="record_ends",
        cases="records",
        misfits="beyond",
        seconds="end_seconds",
        claim="annotated records end behind the rows of their video",
        example="at {seconds} (rows end at {rows_end})",
        if_few="What lies behind the rows is not learned.",
        if_many=(
            "Times are seconds from the start of the video: look for frame numbers instead of "
            f"seconds, {OTHER_LABEL_RATE}, or features of another cut of the videos."
        ),
    )


def record_ends_beyond(task: str, samples: Sequence[Sample], stream: Stream) -> RecordEnds:
    """Compare when annotated records end with when the rows of their videos do.

    Videos are found as ``train.data.samples.find_rows`` finds them; one that the stream does not
    hold is missing, which is told there.

    Args:
        task: Name of the task.
        samples: Of all its subsets.
        stream: Where the features are.

    Raises:
        AnnotationError: if more than half of the records end behind the rows.
    """
    ends = RowEnds(stream)
    num_records = 0
    late: list[Misfit] = []
    for sample in samples:
        found = find_video(sample, stream)
        if found is None or not sample.record_ends:
            continue
        rows_end, tolerance = ends.of(found)
        num_records += len(sample.record_ends)
        late += [
            Misfit(video=sample.video_id, seconds=second, rows_end_seconds=rows_end)
            for second in sample.record_ends
            if second > rows_end + tolerance
        ]
    return checked(RecordEnds, task, num_records, late)
