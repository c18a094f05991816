"""Walk through the rows of a video in blocks of bounded size, for copying and checking."""

from collections.abc import Iterator

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import StoreCorruptError
from cache_schema.records import Commit
from cache_schema.stored_numbers import Array
from cache_schema.stream import PartRows, Stream

__all__ = ["checked_blocks", "little_endian", "part_blocks", "row_blocks"]

BLOCK_BYTES = 8 * 2**20


def row_blocks(stream: Stream, video_id: str) -> Iterator[Array]:
    """Yield the features of a video, a few MiB at a time; each block is overwritten by the next."""
    yield from part_blocks(stream, stream.part(video_id).rows, stream.commit(video_id))


def checked_blocks(stream: Stream, video_id: str) -> Iterator[Array]:
    """Yield the same as ``row_blocks``; a copy made from it cannot hide damage.

    Raises:
        StoreCorruptError: after the last block, if rows or times are not those committed.
    """
    commit, checksum = stream.commit(video_id), 0
    for rows in row_blocks(stream, video_id):
        checksum = google_crc32c.extend(checksum, little_endian(rows))
        yield rows
    time_checksum = google_crc32c.value(little_endian(stream.times(video_id)))
    if (checksum, time_checksum) != (commit.features_crc32c, commit.time_crc32c):
        raise StoreCorruptError(
            f"stream '{stream.name}': the stored rows of '{video_id}' are not those that were "
            "committed, so they are not copied. Run vllm-store verify."
        )


def part_blocks(stream: Stream, rows: PartRows, commit: Commit) -> Iterator[Array]:
    """Yield the features of one commit of one part, be it the copy readers see or not."""
    block_rows = min(commit.num_rows, max(1, BLOCK_BYTES // stream.row_bytes))
    block = np.empty((block_rows, *stream.row_shape), stream.numpy_dtype)
    for first_row in range(0, commit.num_rows, block_rows):
        values = block[: commit.num_rows - first_row]
        rows.copy_features(commit.first_row + first_row, values)
        yield values


def little_endian(values: Array | NDArray[np.float64]) -> bytes:
    """Return an array's bytes as the format stores them."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
