"""A store writer that keeps rows in memory: how workers fill a store that takes one writer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache_schema.recipe import Recipe
from cache_schema.records import VideoRecord
from cache_schema.store import StoreWriter
from cache_schema.stored_numbers import Array
from cache_schema.writing.closing import ClosedOnExit

__all__ = ["CollectedVideo", "RowCollector", "commit_collected"]


@dataclass(frozen=True, kw_only=True)
class CollectedVideo:
    """One video's rows in one stream, complete but not yet stored."""

    stream: str
    record: VideoRecord
    values: Array
    times_R2: NDArray[np.float64]


class _StreamCollector:
    """See ``StreamWriter``."""

    def __init__(self, stream: str, videos: list[CollectedVideo]) -> None:
        self._stream = stream
        self._videos = videos
        self._blocks: list[Array] = []

    def append(self, values: Array, *, are_finite: bool = False) -> None:
        """Keep rows of the current video."""
        self._blocks.append(values)

    def commit(self, video: VideoRecord, times_R2: NDArray[np.float64]) -> None:
        """Add the current video to those that are complete."""
        self._videos.append(
            CollectedVideo(
                stream=self._stream,
                record=video,
                values=np.concatenate(self._blocks),
                times_R2=times_R2,
            )
        )
        self._blocks = []

    def abandon(self) -> None:
        """Forget the current video."""
        self._blocks = []

    def close(self) -> None:
        """Forget the current video."""
        self.abandon()


class RowCollector(ClosedOnExit):
    """Collect the videos of every stream; see ``StoreWriter``."""

    def __init__(self) -> None:
        self.videos: list[CollectedVideo] = []

    def stream(
        self, name: str, recipe: Recipe, row_shape: tuple[int, ...], *, encoder_source: str = ""
    ) -> _StreamCollector:
        """Return a collector for a stream."""
        return _StreamCollector(name, self.videos)

    def close(self) -> None:
        """Do nothing: what is not committed is forgotten with the collector."""


def commit_collected(
    videos: list[CollectedVideo],
    writer: StoreWriter,
    streams: dict[str, tuple[Recipe, tuple[int, ...]]],
) -> None:
    """Write collected videos to a store, each with a commit of its own."""
    for video in videos:
        stream = writer.stream(video.stream, *streams[video.stream])
        stream.append(video.values, are_finite=True)  # as the write stage says
        stream.commit(video.record, video.times_R2)
