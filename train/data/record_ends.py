"""Whether annotations and features are of the same videos and in the same unit of time.

Samples + stream -> how many annotated records end behind the rows of their video.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cache_schema.errors import AnnotationError
from cache_schema.stream import Stream
from train.task import Sample

__all__ = ["RecordEnds", "record_ends_beyond"]

TOLERANCE_SECONDS = 1.0
"""What an end may lie behind the last row without a word, or a row's length if that is more:
annotators and containers round, and a video's last window may not be whole."""
MOST_BEYOND = 0.5
"""Share of the records; with more, times and videos do not belong together."""
NUM_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class LateEnd:
    """One record that ends behind the rows of its video."""

    video: str
    """As the annotations name it."""
    end_seconds: float
    rows_end_seconds: float

    def text(self) -> str:
        """Return it for a reader."""
        return f"{self.video} at {self.end_seconds:g} s (rows end at {self.rows_end_seconds:g} s)"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEnds:
    """The records of a task, and those that end behind the rows of their video."""

    task: str
    num_records: int = 0
    """In videos that the stream holds."""
    num_beyond: int = 0
    first: list[LateEnd] = field(default_factory=list)
    """A few of them, in the order of the samples."""

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        first = [
            {
                "video": one.video,
                "end_seconds": one.end_seconds,
                "rows_end_seconds": one.rows_end_seconds,
            }
            for one in self.first
        ]
        return {"records": self.num_records, "beyond": self.num_beyond, "first": first}

    def text(self) -> str:
        """Return the count and the first ones for a reader."""
        more = ", ..." if self.num_beyond > len(self.first) else ""
        return (
            f"{self.task}: {self.num_beyond} of {self.num_records} annotated records end behind "
            f"the rows of their video: {', '.join(one.text() for one in self.first)}{more}"
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
    rows_end = lru_cache(maxsize=64)(lambda video_id: _rows_end(stream, video_id))
    num_records = 0
    late: list[LateEnd] = []
    for sample in samples:
        video_id = stream.resolve(sample.video_id)
        if video_id is None or not sample.record_ends:
            continue
        end, tolerance = rows_end(video_id)
        num_records += len(sample.record_ends)
        late += [
            LateEnd(video=sample.video_id, end_seconds=second, rows_end_seconds=end)
            for second in sample.record_ends
            if second > end + tolerance
        ]
    found = RecordEnds(
        task=task, num_records=num_records, num_beyond=len(late), first=late[:NUM_NAMED]
    )
    if found.num_beyond > MOST_BEYOND * num_records:
        raise AnnotationError(
            f"{found.text()}. Times are seconds from the start of the video: look for frame "
            "numbers instead of seconds, another frame rate (label_fps), or features of another "
            "cut of the videos."
        )
    return found


def _rows_end(stream: Stream, video_id: str) -> tuple[float, float]:
    """Return the end of a video's last row, and what a record may lie behind it."""
    times_R2 = stream.times(video_id)
    longest = float((times_R2[:, 1] - times_R2[:, 0]).max(initial=0.0))
    return float(times_R2[:, 1].max(initial=0.0)), max(TOLERANCE_SECONDS, longest)
