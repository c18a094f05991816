"""Ask for rows long before they are read, where they come from another machine.

The order in which an epoch reads is known before it begins, so what a far store takes to answer is
waited for once, and from then on only what the network carries.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from cache_schema.stream import Stream

__all__ = ["AHEAD_BYTES", "fetched_ahead"]

T = TypeVar("T")

AHEAD_BYTES = 128 * 2**20
"""Rows on their way or here before they are read: what 50 Gbit/s carry in a round trip of 20 ms."""


def fetched_ahead(
    stream: Stream, batches: Iterable[T], spans: Callable[[T], Sequence[tuple[str, int, int]]]
) -> Iterator[T]:
    """Yield batches in their order, once those behind have been asked for.

    Args:
        stream: Where their rows are; batches of one on this machine pass through.
        batches: What is read together, in the order of reading.
        spans: The windows that a batch reads, as of ``Stream.read_windows``.
    """
    if not stream.is_far:
        yield from batches
        return
    waiting: deque[tuple[T, int]] = deque()
    num_bytes = 0
    for batch in batches:
        asked = spans(batch)
        stream.fetch(asked)
        size = sum(num_rows for _, _, num_rows in asked) * stream.row_bytes
        waiting.append((batch, size))
        num_bytes += size
        while num_bytes > AHEAD_BYTES:
            first, size = waiting.popleft()
            num_bytes -= size
            yield first
    yield from (batch for batch, _ in waiting)
