"""Rows of one part in a bucket, read by ranges of its two shards."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.object_backend.byte_ranges import ReadAhead
from cache_schema.stream import Array

__all__ = ["ObjectPartRows", "shard_key"]


def shard_key(part: str, array: str, *, ndim: int) -> str:
    """Return the name of an array's only shard (chunk key ``c/0/0/...``)."""
    return "/".join([part, array, "c", *["0"] * ndim])


class ObjectPartRows:
    """Rows of one part; what is prefetched comes while others are read."""

    def __init__(
        self, ahead: ReadAhead, part: str, row_shape: tuple[int, ...], store_dtype: str
    ) -> None:
        """Remember where the rows lie; nothing is fetched.

        Args:
            ahead: Shared by the parts of a store.
            part: Name of its folder in the bucket.
            row_shape: Of a row.
            store_dtype: As the recipe says.
        """
        self._ahead = ahead
        self._part = part
        self._dtype = np.dtype(layout.STORED_DTYPE[store_dtype]).newbyteorder("<")
        self._row_bytes = self._dtype.itemsize * math.prod(row_shape)
        self._features = shard_key(part, layout.FEATURES, ndim=1 + len(row_shape))
        self._time = shard_key(part, layout.TIME, ndim=2)

    def copy_features(self, first_row: int, out: Array) -> None:
        """See ``PartRows``."""
        data = self._read(self._features, first_row * self._row_bytes, len(out) * self._row_bytes)
        np.copyto(out, np.frombuffer(data, self._dtype).reshape(out.shape))

    def time(self, first_row: int, num_rows: int) -> NDArray[np.float64]:
        """See ``PartRows``."""
        data = self._read(self._time, first_row * 16, num_rows * 16)
        return np.frombuffer(data, "<f8").reshape(num_rows, 2)

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Ask for the rows of a batch at once, without waiting for them."""
        size = self._row_bytes
        wanted = [(first * size, (first + count) * size) for first, count in spans]
        self._ahead.start(self._features, wanted)

    def prefetch_whole(self, first_row: int, num_rows: int) -> None:
        """Ask for some rows and their times, too, without waiting for them."""
        self.prefetch([(first_row, num_rows)])
        self._ahead.start(self._time, [(first_row * 16, (first_row + num_rows) * 16)])

    def _read(self, key: str, start: int, size: int) -> bytes:
        data = self._ahead.read(key, start, start + size)
        if len(data) != size:
            raise StoreCorruptError(
                f"{self._part}: object {key} ends before its committed rows do. "
                "Restore it, or remove this part and extract its videos again."
            )
        return data
