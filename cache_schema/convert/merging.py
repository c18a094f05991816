"""Which parts of a stream may be merged so that readers see the same before, after and between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cache_schema import layout
from cache_schema.stream import Stream, StreamPart

__all__ = ["Compaction", "Progress", "has_dead_rows", "is_small", "movable"]

Progress = Callable[[int], object]


@dataclass(kw_only=True)
class Compaction:
    """What was done to one stream."""

    stream: str
    parts_before: int
    parts_after: int = 0
    videos_moved: int = 0
    left_alone: dict[str, str] = field(default_factory=dict)
    """Part -> why it was not touched although it could be merged."""


def movable(stream: Stream, free: set[str], done: Compaction) -> list[StreamPart]:
    """Return those of the free parts whose videos may move to newer parts; note why others stay."""
    chosen = [part for part in stream.parts if part.id in free]
    while stay := _would_lose(stream, chosen):
        for part_id in stay:
            done.left_alone[part_id] = "shares a video with a part that is left alone"
        chosen = [part for part in chosen if part.id not in stay]
    return chosen


def _would_lose(stream: Stream, chosen: Sequence[StreamPart]) -> set[str]:
    """Return the parts with a video that, moved to a newer part, would no longer be what counts."""
    chosen_ids = {part.id for part in chosen}
    staying_videos = {
        video_id
        for part in stream.parts
        if part.id not in chosen_ids
        for video_id in part.commits.ids
    }
    return {
        part.id
        for part in chosen
        for video_id, counts in stream.counted(part)
        if counts and video_id in staying_videos
    }


def has_dead_rows(stream: Stream, part: StreamPart) -> bool:
    """Tell whether a part holds rows that no reader sees."""
    return not all(counts for _, counts in stream.counted(part))


def is_small(stream: Stream, part: StreamPart) -> bool:
    """Tell whether a part has less than half the size at which a writer begins another."""
    return 2 * sum(part.commits.num_rows) * stream.row_bytes < layout.PART_BYTES
