"""Where one thread leaves things for another: it waits for room, or throws away the oldest."""

import threading
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Mailbox"]

SIGNAL_SECONDS = 0.2
"""How long what a signal handler has left may be overlooked."""

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue of at most so many things; ``queue.Queue`` cannot drop its oldest."""

    def __init__(self, most: int, *, drops_oldest: bool) -> None:
        self._things: deque[T] = deque()
        self._most = most
        self._drops_oldest = drops_oldest
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, thing: T) -> bool:
        """Leave a thing; tell whether anybody will take it. A closed mailbox takes nothing."""
        with self._changed:
            if self._drops_oldest and not self._is_closed and len(self._things) >= self._most:
                self._things.popleft()
            self._changed.wait_for(lambda: self._is_closed or len(self._things) < self._most)
            if not self._is_closed:
                self._things.append(thing)
                self._changed.notify_all()
            return not self._is_closed

    def finish(self, last: T) -> None:
        """Leave one thing behind all that is there: nothing is dropped or waited for.

        In a closed mailbox nothing is left.
        """
        with self._changed:
            if not self._is_closed:
                self._things.append(last)
                self._changed.notify_all()

    def get(self) -> T:
        """Take the oldest thing, as soon as there is one."""
        with self._changed:
            # A signal handler that closes the mailbox between the look at the things and the wait
            # finds nobody to notify, so no wait is for ever.
            while not self._changed.wait_for(lambda: bool(self._things), SIGNAL_SECONDS):
                pass
            thing = self._things.popleft()
            self._changed.notify_all()
            return thing

    def close(self, last: T) -> None:
        """Throw away what is there; all that can still be taken is ``last``.

        A signal handler may do this while its thread waits in ``get``.
        """
        with self._changed:
            self._is_closed = True
            self._things.clear()
            self._things.append(last)
            self._changed.notify_all()
