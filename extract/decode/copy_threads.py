"""Threads that copy large frames, while the thread that hands frames over goes on to the next one.

That thread decides how many frames leave a process, however many decode.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["CopyThreads"]

NUM_THREADS = 2
"""As many copies as this fill a processor's way to memory."""

WORTH_BYTES = 2**19
"""Less is copied sooner than a thread is told to."""


class CopyThreads:
    """Makes copies in any order; ``wait`` before anybody looks at them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(NUM_THREADS, "copy")  # its threads start when asked
        self._pending: list[Future[None]] = []

    def run(self, copy: Callable[[], None], num_bytes: int) -> None:
        """Make a copy of so many bytes, now or soon."""
        if num_bytes < WORTH_BYTES:
            copy()
        else:
            self._pending.append(self._pool.submit(copy))

    def wait(self) -> None:
        """Wait until all copies are made."""
        while self._pending:
            self._pending.pop(0).result()
