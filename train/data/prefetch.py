"""Run an iterator ahead in one thread.

One thread is enough: copying rows releases the GIL, and processes would pay for pickling.

To torch it is one core. With helpers of its own, there would be more OpenMP threads than cores, and
then GNU's library puts each of them to sleep as soon as it has nothing to do: to wake them again at
every product of matrices took up to half of the time of training a small model on a CPU.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import torch

__all__ = ["Prefetch"]

T = TypeVar("T")


class _End:
    """What ``next`` returns behind the last item."""


class Prefetch(Generic[T]):
    """Iterate over ``source`` while a thread stays up to ``depth`` items ahead.

    A context manager: leaving it stops and joins the thread, whatever happened. An exception of
    the source is raised in the loop that consumes it.
    """

    def __init__(self, source: Iterator[T], depth: int = 2) -> None:
        self._source = source
        self._depth = depth
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")

    def __enter__(self) -> "Prefetch[T]":
        before = torch.get_num_threads()
        self._thread.submit(_without_helpers).result()
        torch.set_num_threads(before)  # what was set last is for all threads that begin later, too
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        pending = deque(self._ask() for _ in range(self._depth))
        while not isinstance(item := pending.popleft().result(), _End):
            pending.append(self._ask())
            yield item

    def _ask(self) -> Future[T | _End]:
        return self._thread.submit(next, self._source, _End())


def _without_helpers() -> None:
    """Have torch work in this thread alone."""
    torch.get_num_threads()  # only once asked, a thread does not take what others set
    torch.set_num_threads(1)
