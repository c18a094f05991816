"""Reading a bucket through copies on this machine's disk: what is read once comes once.

Blocks that are asked for are fetched side by side and kept; reading copies them from a memory map,
as from a local store. What the cache has no room for is read through ``ReadAhead``, as without one.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket, requests
from cache_schema.object_backend.byte_ranges import ReadAhead, Span
from cache_schema.object_backend.cached_object import BLOCK_BYTES, Bytes, CachedObject
from cache_schema.object_backend.disk_cache import DiskCache, StoreCopies

__all__ = ["CachedObjects"]


@dataclass(slots=True)
class _Known:
    """An object whose size and identity are known."""

    key: str
    copy: CachedObject
    coming: dict[int, "Future[bytes | None]"] = field(default_factory=dict)
    """Blocks that were asked for and not read yet: None once they are on the disk, else their
    bytes, or None too if they were not fetched for want of room."""


class CachedObjects:
    """See ``ObjectReader``. For many threads; a copy in another process begins anew."""

    def __init__(self, bucket: Bucket, cache: DiskCache) -> None:
        """Begin to use the copies of a store; nothing is fetched.

        Args:
            bucket: The store.
            cache: Where copies lie.
        """
        self._bucket = bucket
        self.cache = cache
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._uncached = ReadAhead(self._bucket)
        self._copies: StoreCopies = self.cache.copies(self._bucket.address)
        self._known: dict[str, Future[_Known]] = {}
        self._lock = Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"_bucket": self._bucket, "cache": self.cache}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()

    def start(self, key: str, spans: Sequence[Span]) -> None:
        """See ``ObjectReader``."""
        known = self._object(key)
        if known.done():
            self._start_known(known.result(), spans)
        else:  # once it is known what there is, by the thread that learns it
            known.add_done_callback(lambda done: self._start_later(done, spans))

    def _start_later(self, known: "Future[_Known]", spans: Sequence[Span]) -> None:
        with suppress(StoreError):  # who reads it is told
            self._start_known(known.result(), spans)

    def read_into(self, key: str, start: int, out: Bytes) -> int:
        """See ``ObjectReader``."""
        one = self._object(key).result()
        end = min(start + len(out), one.copy.size)
        if end <= start:
            return 0
        self.cache.counts.read_bytes += end - start
        held = one.copy.held(start, end)
        if held is None:
            self._read_blocks(one, start, out[: end - start])
        else:
            out[: end - start] = held
        return end - start

    def whole(self, key: str) -> Bytes | None:
        """Return all bytes of an object, mapped, once they are all here and were read."""
        known = self._known.get(key)
        return known.result().copy.whole() if known is not None and known.done() else None

    def will_need(self, key: str, spans: Sequence[Span]) -> None:
        """Tell the system that bytes are about to be read, as far as they are here."""
        copy = self._object(key).result().copy
        for start, end in spans:
            copy.will_need(start, end)

    def _object(self, key: str) -> "Future[_Known]":
        if self._process != os.getpid():
            self._begin()  # the parent's requests are answered there
        found = self._known.get(key)
        if found is None:
            with self._lock:
                found = self._known.get(key)
                if found is None:
                    found = self._known[key] = requests().submit(self._identified, key)
        return found

    def _identified(self, key: str) -> _Known:
        size, version = self._bucket.identity(key)
        return _Known(key, self._copies.copy(key, version, size))

    def _start_known(self, one: _Known, spans: Sequence[Span]) -> None:
        for start, end in spans:
            missing = False
            for block in range(start // BLOCK_BYTES, -(-min(end, one.copy.size) // BLOCK_BYTES)):
                if block not in one.coming and not one.copy.has(block):
                    missing |= not self._ask(one, block)
            if missing:
                self._uncached.start(one.key, [(start, end)])

    def _ask(self, one: _Known, block: int) -> bool:
        """Begin to fetch a block; False if there is no room for it."""
        start, end = one.copy.bounds(block)
        with self._lock:
            if block in one.coming:
                return True
            if not self.cache.take(end - start):
                return False
            one.coming[block] = requests().submit(self._fetch, one, block)
        return True

    def _fetch(self, one: _Known, block: int) -> bytes | None:
        """Fetch a block for which room was taken; return its bytes if it cannot be kept."""
        start, end = one.copy.bounds(block)
        try:
            return self._kept(one, block)
        finally:
            self.cache.give_back(end - start)

    def _kept(self, one: _Known, block: int) -> bytes | None:
        if self.cache.is_off or one.copy.has(block):  # or another process was faster
            return None
        start, end = one.copy.bounds(block)
        data = self._bucket.get_range(one.key, start, end)
        with self.cache.counts.lock:
            self.cache.counts.fetched_bytes += len(data)
        try:
            one.copy.put(block, data)
        except OSError as error:
            self.cache.turn_off(error)
            return data
        return None

    def _read_blocks(self, one: _Known, start: int, out: Bytes) -> None:
        """Fill ``out`` block by block; what was not asked for is asked for now."""
        end = start + len(out)
        self._start_known(one, [(start, end)])
        for block in range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
            block_start, block_end = one.copy.bounds(block)
            first, last = max(start, block_start), min(end, block_end)
            self._read_block(one, block, first, out[first - start : last - start])

    def _read_block(self, one: _Known, block: int, start: int, out: Bytes) -> None:
        """Fill ``out`` with bytes that lie in one block."""
        coming = one.coming.get(block)
        data = coming.result() if coming is not None else None
        one.coming.pop(block, None)  # not before it is here: others would ask for it again
        if coming is None and one.copy.check(block):
            out[:] = one.copy.view(start, start + len(out))
            return
        counts = self.cache.counts
        counts.missed_bytes += len(out)
        if data is not None:
            at = start - one.copy.bounds(block)[0]
            out[:] = np.frombuffer(data, np.uint8, len(out), at)
        elif one.copy.check(block):
            out[:] = one.copy.view(start, start + len(out))
        else:
            self._read_uncached(one, start, out)

    def _read_uncached(self, one: _Known, start: int, out: Bytes) -> None:
        count = self._uncached.read_into(one.key, start, out)
        with self.cache.counts.lock:
            self.cache.counts.fetched_bytes += count
        if count < len(out):
            raise StoreError(
                f"{self._bucket.address}/{one.key}: has changed since the store was opened. "
                "Open it again."
            )
