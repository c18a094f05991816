"""Walk through the rows of a video in blocks of bounded size, for copying and checking."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cache_schema.records import Commit
from cache_schema.stream import Array, PartRows, Stream

__all__ = ["little_endian", "part_blocks", "row_blocks"]

BLOCK_BYTES = 8 * 2**20


def row_blocks(stream: Stream, video_id: str) -> Iterator[Array]:
    """Yield the features of a video, a few MiB at a time; each block is overwritten by the next."""
    num_rows = stream.commit(video_id).num_rows
    block = _block(stream, num_rows)
    for first_row in range(0, num_rows, len(block)):
        rows = block[: num_rows - first_row]
        stream.read_windows([(video_id, first_row, len(rows))], rows[None])
        yield rows


def part_blocks(stream: Stream, rows: PartRows, commit: Commit) -> Iterator[Array]:
    """Yield the features of one commit of one part, be it the copy readers see or not."""
    block = _block(stream, commit.num_rows)
    for first_row in range(0, commit.num_rows, len(block)):
        values = block[: commit.num_rows - first_row]
        rows.copy_features(commit.first_row + first_row, values)
        yield values


def little_endian(values: Array | NDArray[np.float64]) -> bytes:
    """Return an array's bytes as the format stores them."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _block(stream: Stream, num_rows: int) -> Array:
    row_bytes = stream.numpy_dtype.itemsize * int(np.prod(stream.row_shape))
    return np.empty(
        (min(num_rows, max(1, BLOCK_BYTES // row_bytes)), *stream.row_shape), stream.numpy_dtype
    )
