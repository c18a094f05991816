"""Rows of one part in a bucket, read by ranges of its two shards."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import StoreCorruptError
from cache_schema.object_backend.byte_ranges import ObjectReader, Span
from cache_schema.object_backend.cached_object import CachedObject
from cache_schema.object_backend.cached_objects import CachedObjects
from cache_schema.object_backend.disk_cache import CacheCounts
from cache_schema.stored_numbers import Array

__all__ = ["CachedPartRows", "ObjectPartRows", "shard_key"]


def shard_key(part: str, array: str, *, ndim: int) -> str:
    """Return the name of an array's only shard (chunk key ``c/0/0/...``)."""
    return "/".join([part, array, "c", *["0"] * ndim])


class ObjectPartRows:
    """Rows of one part; what is prefetched comes while others are read."""

    def __init__(
        self, reader: ObjectReader, part: str, row_shape: tuple[int, ...], store_dtype: str
    ) -> None:
        """Remember where the rows lie; nothing is fetched.

        Args:
            reader: Shared by the parts of a store.
            part: Name of its folder in the bucket.
            row_shape: Of a row.
            store_dtype: As the recipe says.
        """
        self._reader = reader
        self._part = part
        self._dtype = np.dtype(layout.STORED_DTYPE[store_dtype]).newbyteorder("<")
        self._row_bytes = self._dtype.itemsize * math.prod(row_shape)
        self._features = shard_key(part, layout.FEATURES, ndim=1 + len(row_shape))
        self._time = shard_key(part, layout.TIME, ndim=2)

    def copy_features(self, first_row: int, out: Array) -> None:
        """See ``PartRows``."""
        rows = out if out.flags.c_contiguous else np.empty(out.shape, self._dtype)
        self._read_into(self._features, first_row * self._row_bytes, rows)
        if rows is not out:
            np.copyto(out, rows)

    def time(self, first_row: int, num_rows: int) -> NDArray[np.float64]:
        """See ``PartRows``."""
        times_R2 = np.empty((num_rows, 2), "<f8")
        self._read_into(self._time, first_row * 16, times_R2)
        return times_R2

    def fetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """See ``PartRows``."""
        self._reader.start(self._features, self._byte_spans(spans))

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Ask for the rows of a batch at once, without waiting for them."""
        self.fetch(spans)

    def prefetch_whole(self, first_row: int, num_rows: int) -> None:
        """Ask for some rows and their times, too, without waiting for them."""
        self.prefetch([(first_row, num_rows)])
        self._reader.start(self._time, [(first_row * 16, (first_row + num_rows) * 16)])

    def _byte_spans(self, spans: Sequence[tuple[int, int]]) -> list[Span]:
        size = self._row_bytes
        return [(first * size, (first + count) * size) for first, count in spans]

    def _read_into(self, key: str, start: int, out: Array) -> None:
        wanted = out.reshape(-1).view(np.uint8)
        if self._reader.read_into(key, start, wanted) != len(wanted):
            raise self._too_short(key)

    def _too_short(self, key: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"{self._part}: object {key} ends before its committed rows do. "
            "Restore it, or remove this part and extract its videos again."
        )


@dataclass(frozen=True, slots=True)
class _Here:
    """What is on this machine of a part's features."""

    rows: Array
    """All of them, mapped; what is not here is no row."""
    copy: CachedObject
    counts: CacheCounts


class CachedPartRows(ObjectPartRows):
    """The same through a cache on disk: what is there is read as a local part is."""

    _reader: CachedObjects

    def __init__(
        self, reader: CachedObjects, part: str, row_shape: tuple[int, ...], store_dtype: str
    ) -> None:
        """See ``ObjectPartRows``."""
        super().__init__(reader, part, row_shape, store_dtype)
        self._row_shape = row_shape
        self._here: _Here | None = None

    def __getstate__(self) -> dict[str, object]:
        # A memory map belongs to its process: a copy opens its own.
        return {**self.__dict__, "_here": None}

    def copy_features(self, first_row: int, out: Array) -> None:
        """See ``PartRows``."""
        here, size = self._here, self._row_bytes
        if here is None or not here.copy.is_here(first_row * size, (first_row + len(out)) * size):
            super().copy_features(first_row, out)
            self._here = here or self._mapped()
            return
        rows = here.rows[first_row : first_row + len(out)]
        if len(rows) != len(out):
            raise self._too_short(self._features)
        np.copyto(out, rows)
        here.counts.read_bytes += out.nbytes

    def fetch_times(self, num_rows: int) -> None:
        """Begin to fetch the times of the part's rows: they are few, and needed at once."""
        self._reader.start(self._time, [(0, num_rows * 16)])

    def fetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """See ``PartRows``."""
        missing = self._byte_spans(spans)
        if self._here is not None:
            is_here = self._here.copy.is_here
            missing = [span for span in missing if not is_here(*span)]
        if missing:
            self._reader.start(self._features, missing)

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Ask for what is not here, and for the pages of what is."""
        self.fetch(spans)
        self._reader.will_need(self._features, self._byte_spans(spans))

    def _mapped(self) -> _Here | None:
        copy = self._reader.copy(self._features)
        if copy.bytes is None:
            return None
        num_rows = copy.size // self._row_bytes
        rows = copy.bytes[: num_rows * self._row_bytes].view(self._dtype)
        shaped = rows.reshape(num_rows, *self._row_shape)
        return _Here(shaped, copy, self._reader.cache.counts)
