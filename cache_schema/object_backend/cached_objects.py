"""Reading a bucket through copies on this machine's disk: what is read once comes once.

Blocks that are asked for are fetched side by side and kept; reading copies them from a memory map,
as from a local store. What the cache has no room for is read through ``ReadAhead``, as without one.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from threading import Lock
from typing import NamedTuple

import numpy as np

from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket, requests
from cache_schema.object_backend.bucket_errors import object_gone
from cache_schema.object_backend.byte_ranges import ReadAhead, Span
from cache_schema.object_backend.cached_object import BLOCK_BYTES, Bytes, CachedObject
from cache_schema.object_backend.disk_cache import DiskCache, StoreCopies
from cache_schema.object_backend.forked import check_not_forked
from cache_schema.object_backend.waiting_line import WaitingLine

__all__ = ["CachedObjects"]


REQUEST_BLOCKS = 4
"""Neighbours that are fetched by one request: comes in a few round trips of 20 ms."""


IN_FLIGHT = 32
"""Requests for blocks at a time: 32 MiB keep any link busy for some round trips. More would share
it, and what is read first would come late."""


@cache
def _requests() -> WaitingLine[bytes | None]:
    """Return the threads that fetch blocks."""
    return WaitingLine(IN_FLIGHT)


class _Request(NamedTuple):
    """Consecutive blocks on their way."""

    first_block: int
    data: "Future[bytes | None]"
    """None once they are on the disk; else their bytes, or None too if nothing was fetched because
    they cannot be kept any more."""


@dataclass(slots=True)
class _Known:
    """An object whose size and version are known."""

    key: str
    copy: CachedObject
    coming: dict[int, _Request] = field(default_factory=dict)
    """Blocks that were asked for and not read yet."""


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
        if one.copy.is_here(start, end):
            out[: end - start] = one.copy.view(start, end)
        else:
            self._read_blocks(one, start, out[: end - start])
        return end - start

    def copy(self, key: str) -> CachedObject:
        """Return what is here of an object."""
        return self._object(key).result().copy

    def will_need(self, key: str, spans: Sequence[Span]) -> None:
        """Tell the system that bytes are about to be read, as far as they are here."""
        copy = self.copy(key)
        for start, end in spans:
            copy.will_need(start, end)

    def _object(self, key: str) -> "Future[_Known]":
        check_not_forked()
        found = self._known.get(key)
        if found is None:
            with self._lock:
                found = self._known.get(key)
                if found is None:
                    found = self._known[key] = requests().submit(self._identified, key)
        return found

    def _identified(self, key: str) -> _Known:
        facts = self._bucket.facts(key)
        if facts is None:
            raise object_gone(f"{self._bucket.address}/{key}")
        self._bucket.pin(key, facts.version)
        return _Known(key, self._copies.copy(key, facts.version, facts.num_bytes))

    def _start_known(self, one: _Known, spans: Sequence[Span]) -> None:
        for start, end in spans:
            end = min(end, one.copy.size)
            if start < end and not one.copy.is_here(start, end):
                without_room = self._ask(one, start, end)
                self._uncached.start(
                    one.key,
                    [(max(start, first), min(end, last)) for first, last in without_room],
                )

    def _ask(self, one: _Known, start: int, end: int) -> list[Span]:
        """Begin to fetch what is missing of a range; return the blocks there is no room for."""
        without_room = []
        first, last = start // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        with self._lock:
            missing = [
                block
                for block in range(first, last)
                if block not in one.coming and not one.copy.has(block)
            ]
            for run in _neighbours(missing):
                span = one.copy.bounds(run[0])[0], one.copy.bounds(run[-1])[1]
                size = span[1] - span[0]
                if not self.cache.take(size):
                    without_room.append(span)
                    continue
                request = _Request(run[0], _requests().submit(partial(self._fetch, one, run, size)))
                one.coming.update(dict.fromkeys(run, request))
        return without_room

    def _fetch(self, one: _Known, blocks: Sequence[int], size: int) -> bytes | None:
        """Fetch blocks for which room was taken; return their bytes if they cannot be kept."""
        try:
            return self._kept(one, blocks, size)
        finally:
            self.cache.give_back(size)

    def _kept(self, one: _Known, blocks: Sequence[int], size: int) -> bytes | None:
        if self.cache.is_off or all(map(one.copy.has, blocks)):  # another process was faster
            return None
        start, _ = one.copy.bounds(blocks[0])
        data = self._bucket.get_range(one.key, start, start + size)
        with self.cache.counts.lock:
            self.cache.counts.fetched_bytes += len(data)
        try:
            one.copy.put(blocks[0], data)
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
        request = one.coming.get(block)
        data = request.data.result() if request is not None else None
        one.coming.pop(block, None)  # not before it is here: others would ask for it again
        is_here = one.copy.check(block)
        if request is not None or not is_here:
            self.cache.counts.missed_bytes += len(out)
        if is_here:
            out[:] = one.copy.view(start, start + len(out))
        elif request is not None and data is not None:
            at = start - request.first_block * BLOCK_BYTES
            out[:] = np.frombuffer(data, np.uint8, len(out), at)
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


def _neighbours(blocks: Sequence[int]) -> Iterator[list[int]]:
    """Cut ascending numbers into runs without gaps, of ``REQUEST_BLOCKS`` at most.

    >>> list(_neighbours([0, 1, 3, 4, 5, 6, 7]))
    [[0, 1], [3, 4, 5, 6], [7]]
    """
    run: list[int] = []
    for block in blocks:
        if run and (block != run[-1] + 1 or len(run) == REQUEST_BLOCKS):
            yield run
            run = []
        run.append(block)
    if run:
        yield run
