"""Compare rows as we read them with what a foreign library reads from the same place."""

from collections.abc import Iterator

import numpy as np

from cache_schema import layout
from cache_schema.stored_numbers import Array
from cache_schema.stream import Stream, StreamPart

__all__ = ["differences_near"]

SAMPLED_WINDOWS = 16
"""Windows of a part that are compared through the foreign library."""


def differences_near(
    array: object, name: str, stream: Stream, part: StreamPart, library: str
) -> Iterator[str]:
    """Compare windows spread evenly over a part, the first and the last row among them."""
    end = part.commits.end_row
    width = min(layout.CHUNK_ROWS, end)
    for first_row in np.unique(np.linspace(0, end - width, SAMPLED_WINDOWS).astype(int)).tolist():
        ours = _our_rows(name, stream, part, first_row, width)
        theirs = np.asarray(array[first_row : first_row + width])  # type: ignore[index]
        if theirs.dtype != ours.dtype or theirs.tobytes() != ours.tobytes():
            yield f"{name}: {library} reads other rows than we do near row {first_row}"
            return


def _our_rows(name: str, stream: Stream, part: StreamPart, first_row: int, count: int) -> Array:
    if name == layout.TIME:
        return part.rows.time(first_row, count)
    values = np.empty((count, *stream.row_shape), stream.numpy_dtype)
    part.rows.copy_features(first_row, values)
    return values
