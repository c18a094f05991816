"""Work that waits for one of a few threads, and is forgotten when the program ends."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["WaitingLine"]

T = TypeVar("T")


class WaitingLine(Generic[T]):
    """Like a ``ThreadPoolExecutor``, whose end waits for all that it was ever given.

    Here a program that ends waits for what is being done, and nothing else is begun.
    """

    def __init__(self, num_threads: int) -> None:
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="waiting-line")
        self._num_idle = num_threads
        self._waiting: deque[tuple[Future[T], Callable[[], T]]] = deque()
        self._lock = Lock()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Let a thread do something, once those who came before have had their turn."""
        result: Future[T] = Future()
        with self._lock:
            if self._num_idle == 0:
                self._waiting.append((result, work))
                return result
            self._num_idle -= 1
        self._threads.submit(self._serve, result, work)
        return result

    def _serve(self, result: Future[T], work: Callable[[], T]) -> None:
        """Do something, and let a thread do what comes next."""
        try:
            result.set_result(work())
        except BaseException as error:  # goes to whoever waits
            result.set_exception(error)
        with self._lock:
            if not self._waiting:
                self._num_idle += 1
                return
            following = self._waiting.popleft()
        try:
            self._threads.submit(self._serve, *following)
        except RuntimeError:  # the program ends, and nobody may wait for what will not come
            with self._lock:
                for result, _ in (following, *self._waiting):
                    result.cancel()
                    result.set_running_or_notify_cancel()  # tells those who wait
                self._waiting.clear()
