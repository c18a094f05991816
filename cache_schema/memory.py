"""A stream whose rows lie in memory: for features that were made just now and need no store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import StoreError
from cache_schema.journal import decode_journal
from cache_schema.recipe import Recipe
from cache_schema.records import Commit, encode_line
from cache_schema.row_writer import checked_rows, checked_times, imported_video
from cache_schema.stored_numbers import Array
from cache_schema.stream import Stream, StreamPart

__all__ = ["memory_stream"]

Rows = tuple[NDArray[np.floating[Any]], NDArray[np.float64]]
"""(R, *row_shape) values, and (R, 2) start and end second of each."""


def memory_stream(recipe: Recipe, videos: Mapping[str, Rows]) -> Stream:
    """Return a stream of some videos' rows, in float32.

    Args:
        recipe: How the rows were made; the stream's own has the same but for the stored dtype.
        videos: Video id -> its rows and their times.

    Raises:
        StoreError: if rows or times are such as no store would take, or shapes differ.
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
    try:
        stored = checked_rows(values, recipe.store_dtype)
        times_R2 = checked_times(np.array(times_R2, np.float64), len(stored))
        video = imported_video(video_id, recipe, times_R2)
    except ValueError as error:
        raise StoreError(f"rows in memory of '{video_id}': {error}.") from error
    commit = Commit(
        video=video,
        first_row=0,
        num_rows=len(stored),
        features_crc32c=google_crc32c.value(stored.tobytes()),
        time_crc32c=google_crc32c.value(times_R2.tobytes()),
    )
    commits, _ = decode_journal(encode_line(commit), where=f"memory: {video_id}")
    return StreamPart(id=video_id, commits=commits, rows=_MemoryRows(stored, times_R2))


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

    fetch = prefetch
