"""Fetching ranges of objects before they are needed: many requests in flight, few bytes kept.

``ByteRanges`` is where a cache goes between rows and bucket: it knows nothing of rows, and rows
know nothing of where bytes come from.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cache_schema.object_backend.forked import check_not_forked

__all__ = ["ByteRanges", "ObjectReader", "ReadAhead", "Span", "joined_spans"]

Span = tuple[int, int]
"""Bytes of an object, from the first to before the second."""

GAP_BYTES = 64 * 2**10
"""Two ranges no farther apart are asked for as one: so much comes in a fraction of a round trip."""
RANGE_BYTES = 4 * 2**20
"""A longer range is asked for in several requests, which come side by side."""
AHEAD_BYTES = 256 * 2**20
"""What is fetched before it is needed, in one process; the oldest is let go."""


class ByteRanges(Protocol):
    """Objects that never change, of which parts are read. Picklable, and safe with threads."""

    def fetch(self, key: str, spans: Sequence[Span]) -> list[Future[bytes]]:
        """Begin to fetch ranges of an object, without waiting for any.

        Args:
            key: Name of the object.
            spans: First byte, and the one behind the last.

        Returns:
            What each range holds, shorter if the object ends before. Their results raise
            ``StoreError`` if the object is gone or cannot be read.
        """


class ObjectReader(Protocol):
    """Objects of which parts are asked for some time before they are read."""

    def start(self, key: str, spans: Sequence[Span]) -> None:
        """Begin to fetch what will be read soon."""

    def read_into(self, key: str, start: int, out: NDArray[np.uint8]) -> int:
        """Fill ``out`` with bytes of an object; return how many there are, less at its end.

        Raises:
            StoreError: if they cannot be read.
        """


class ReadAhead:
    """Ranges that were asked for, on their way or here, until newer ones take their room."""

    def __init__(self, ranges: ByteRanges) -> None:
        self._ranges = ranges
        self._begin()

    def _begin(self) -> None:
        self._coming: deque[tuple[str, Span]] = deque()
        self._futures: dict[str, dict[Span, Future[bytes]]] = {}
        self._num_bytes = 0
        self._lock = Lock()

    def __getstate__(self) -> dict[str, object]:
        return {"_ranges": self._ranges}  # what is on its way comes to this process

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()

    def start(self, key: str, spans: Sequence[Span]) -> None:
        """See ``ObjectReader``."""
        with self._lock:
            held = self._futures.setdefault(key, {})
            wanted = [span for span in joined_spans(spans) if span not in held]
            # Waits for no byte; within the lock, for nobody else may ask for the same meanwhile.
            fetched = self._ranges.fetch(key, wanted)
            held.update(zip(wanted, fetched, strict=True))
            self._coming.extend((key, span) for span in wanted)
            self._num_bytes += sum(end - start for start, end in wanted)
            while self._num_bytes > AHEAD_BYTES:
                self._let_go()

    def _let_go(self) -> None:
        key, (start, end) = self._coming.popleft()
        del self._futures[key][start, end]
        self._num_bytes -= end - start

    def read_into(self, key: str, start: int, out: NDArray[np.uint8]) -> int:
        """See ``ObjectReader``."""
        check_not_forked()
        filled = 0
        for piece in self._pieces(key, start, start + len(out)):
            out[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        return filled

    def _pieces(self, key: str, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            found = self._covering(key, start)
            if found is None:
                for future in self._ranges.fetch(key, list(_split(start, end))):
                    yield future.result()
                return
            first, future = found
            piece = future.result()[start - first : end - first]
            if not piece:
                return
            yield piece
            start += len(piece)

    def _covering(self, key: str, at: int) -> tuple[int, Future[bytes]] | None:
        """Return what is on its way and holds a byte: where it starts, and its future."""
        with self._lock:
            for (start, end), future in self._futures.get(key, {}).items():
                if start <= at < end:
                    return start, future
        return None


def joined_spans(spans: Sequence[Span]) -> Iterator[Span]:
    """Yield the ranges to ask for: near ones as one, long ones in several; none overlap.

    >>> list(joined_spans([(500_000, 500_100), (0, 100), (150, 300)]))
    [(0, 300), (500000, 500100)]
    """
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + GAP_BYTES:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    for start, end in joined:
        yield from _split(start, end)


def _split(start: int, end: int) -> Iterator[Span]:
    for first in range(start, end, RANGE_BYTES):
        yield first, min(first + RANGE_BYTES, end)
