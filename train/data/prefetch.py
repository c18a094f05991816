"""Run an iterator ahead in one thread.

One thread is enough: copying rows releases the GIL, and processes would pay for pickling.

To torch it is one core. With helpers of its own, there would be more OpenMP threads than cores, and
then GNU's library puts each of them to sleep as soon as it has nothing to do: to wake them again at
every product of matrices took the training of a small model on a CPU half of its time.
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
        self._thread = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="prefetch",
            initializer=torch.set_num_threads,
            initargs=(1,),
        )

    def __enter__(self) -> "Prefetch[T]":
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
