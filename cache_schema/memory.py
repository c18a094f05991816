"""A stream whose rows lie in memory: for features that were made just now and need no store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import StoreError
from cache_schema.recipe import Recipe
from cache_schema.records import Commit
from cache_schema.row_writer import imported_video
from cache_schema.stream import Array, Stream, StreamPart

__all__ = ["memory_stream"]

Rows = tuple[NDArray[np.floating[Any]], NDArray[np.float64]]
"""(R, *row_shape) values, and (R, 2) start and end second of each."""


def memory_stream(recipe: Recipe, videos: Mapping[str, Rows]) -> Stream:
    """Return a stream of some videos' rows, in float32.

    Args:
        recipe: How the rows were made; the stream's own has the same but for the stored dtype.
        videos: Video id -> its rows and their times.

    Raises:
        StoreError: if a video has no row, rows and times do not go together, or shapes differ.
    """
    recipe = replace(recipe, store_dtype="float32")
    shapes = {values.shape[1:] for values, _ in videos.values()}
    if len(shapes) != 1:
        raise StoreError(f"rows in memory have {len(shapes)} shapes, expected one: {shapes}.")
    parts = [_part(video_id, recipe, *rows) for video_id, rows in videos.items()]
    return Stream(recipe.encoder.id, recipe, shapes.pop(), parts)


def _part(
    video_id: str,
    recipe: Recipe,
    values: NDArray[np.floating[Any]],
    times_R2: NDArray[np.float64],
) -> StreamPart:
    if not len(values) or times_R2.shape != (len(values), 2):
        raise StoreError(
            f"video '{video_id}' has {len(values)} rows and times {times_R2.shape}, expected at "
            "least one row and a start and an end for each."
        )
    times_R2 = np.asarray(times_R2, np.float64)
    commit = Commit(
        video=imported_video(video_id, recipe, times_R2),
        first_row=0,
        num_rows=len(values),
        features_crc32c=0,  # nothing was stored that could be damaged
        time_crc32c=google_crc32c.value(times_R2.astype("<f8", copy=False).tobytes()),
    )
    rows = _MemoryRows(values.astype(np.float32), times_R2)
    return StreamPart(id=video_id, commits=[commit], rows=rows)


class _MemoryRows:
    """See ``PartRows``."""

    def __init__(self, values: Array, times_R2: NDArray[np.float64]) -> None:
        self._values = values
        self._times_R2 = times_R2

    def copy_features(self, first_row: int, out: Array) -> None:
        np.copyto(out, self._values[first_row : first_row + len(out)])

    def time(self, first_row: int, num_rows: int) -> NDArray[np.float64]:
        return self._times_R2[first_row : first_row + num_rows]

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Do nothing: they are there."""
