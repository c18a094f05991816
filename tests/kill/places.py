"""Where a worker is, told to whoever kills it through a byte that both share."""

import functools
import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

PLACES = (
    "start",
    "between",
    "make store",
    "make stream",
    "open part",
    "append",
    "commit",
    "seal",
    "close",
    "remove",
    "end",
)


def visit_mark(place: str) -> bytes:
    """Return how a worker reports that it got to a place."""
    return json.dumps(["visit", place]).encode()


class Reports:
    """A worker's line to the process that will kill it."""

    def __init__(self, place: mmap.mmap, pipe: int) -> None:
        self._write = os.write  # a worker may replace it
        self._place = place
        self._pipe = pipe

    def event(self, *words: str) -> None:
        self.events([words])

    def events(self, together: Sequence[Sequence[str]]) -> None:
        """Report all or, if the kill is faster, nothing."""
        text = "".join(json.dumps(words) + "\n" for words in together)
        self._write(self._pipe, text.encode())

    def move(self, name: str) -> None:
        self._place[0] = PLACES.index(name)

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        before, self._place[0] = self._place[0], PLACES.index(name)
        self.event("visit", name)
        try:
            yield
        finally:
            self._place[0] = before

    def watch(self, owner: object, function: str, name: str) -> None:
        """Have every call of ``owner.function`` noted as a place."""
        inner: Callable = getattr(owner, function)

        @functools.wraps(inner)
        def watched(*args: object, **keywords: object) -> object:
            with self.at(name):
                return inner(*args, **keywords)

        setattr(owner, function, watched)
