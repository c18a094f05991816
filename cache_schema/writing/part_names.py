"""Names of parts: when, and by which writer."""

import secrets
import time

__all__ = ["PartNames", "part_seconds", "part_writer"]


class PartNames:
    """The names a writer gives: they sort by time, and no other writer gives one of them."""

    def __init__(self) -> None:
        self._writer = secrets.token_hex(4)
        self._last = 0

    def new(self) -> str:
        """Return a name that sorts behind those given before."""
        self._last = max(self._last + 1, time.time_ns() // 1_000_000)
        return f"{self._last:013d}-{self._writer}"


def part_seconds(name: str) -> float:
    """Return when a part was named, in seconds since 1970; 0 if the name does not say."""
    milliseconds = name.partition("-")[0]
    return int(milliseconds) / 1000 if milliseconds.isdecimal() else 0.0


def part_writer(name: str) -> str:
    """Return what all parts of one writer have in their names, and no others."""
    return name.rpartition("-")[2]
