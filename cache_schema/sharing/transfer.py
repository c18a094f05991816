"""What all ways to share a store have in common: looked at first, then done, then told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from cache_schema.convert.transfer import holds
from cache_schema.store import Store
from cache_schema.stream import Stream, StreamPart

__all__ = ["MissingVideos", "Progress", "Transfer", "Transferred", "missing_videos"]

Progress = Callable[[int], object]
"""Called with a number of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingVideos:
    """A part with videos that are missing at the other place."""

    stream: Stream
    part: StreamPart
    counted_ids: list[str]
    """Its videos that readers see."""
    video_ids: list[str]
    """Those of them that are missing."""

    @property
    def num_rows(self) -> int:
        """Of the videos that are missing."""
        return sum(map(self.stream.rows_of, self.video_ids))


def missing_videos(stream: Stream, there: Stream | None) -> Iterator[MissingVideos]:
    """Yield the parts of a stream with videos that the same stream of another place lacks.

    Args:
        stream: What is there to be brought.
        there: The same at the other place; None if there is none.

    Raises:
        StoreError: if it holds other rows under the same name.
    """
    for part in stream.parts:
        ids = [video_id for video_id, counts in stream.counted(part) if counts]
        missing = [video_id for video_id in ids if not holds(there, stream, video_id)]
        if missing:
            yield MissingVideos(stream=stream, part=part, counted_ids=ids, video_ids=missing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """What was missing at a place, and has been brought there."""

    source: str
    target: str
    num_videos: int
    num_rows: int
    num_held: int
    """Videos that were there before."""
    commit: str | None = None
    """The hub's name of the state that was read or made; None for buckets, and if nothing was."""
    is_new: bool = False
    """Whether a repository was made."""

    @classmethod
    def planned(
        cls,
        store: Store,
        missing: Sequence[MissingVideos],
        *,
        source: object,
        target: object,
        commit: str | None = None,
    ) -> Self:
        """Return what will have been brought from a store, of which so much is missing."""
        num_videos = sum(len(one.video_ids) for one in missing)
        in_all = sum(len(stream.video_ids) for stream in store.streams.values())
        return cls(
            source=str(source),
            target=str(target),
            num_videos=num_videos,
            num_rows=sum(one.num_rows for one in missing),
            num_held=in_all - num_videos,
            commit=commit,
        )


class Transfer(Protocol):
    """What is to be brought somewhere."""

    @property
    def outlook(self) -> Transferred:
        """What will have been brought there."""

    @property
    def bar_rows(self) -> int:
        """Rows that progress will be told of."""

    def run(self, progress: Progress) -> Transferred:
        """Bring it there; a killed call is finished by the next one.

        Args:
            progress: Called with numbers of rows that are there now.
        """
