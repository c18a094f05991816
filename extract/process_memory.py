"""The memory of this process: how much it has held, and whether it keeps what is freed."""

import ctypes
import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["freed_memory_kept", "nothing_collected", "peak_bytes"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Of ``mallopt`` (``malloc.h`` of glibc)."""

KEPT = (2**31 - 1, 2**26, 2**30)
"""Bytes for these three: free ones at a heap's end, those asked for beyond need, and of an array
that lies outside the heaps. Threads have heaps of 64 MB; one that is empty goes back, whatever the
first number says, unless the second is as much as that."""

USUAL = (2**26, 2**17, 2**25)
"""What glibc arrives at by itself in a process that frees large arrays."""


def peak_bytes() -> int:
    """Return this process's peak of resident memory, shared pages included; 0 if it is not known.

    ``getrusage`` would not do: to a new process it counts what the one that started it held.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Have Python look for no garbage in the block.

    Who imports large libraries makes a million objects that stay, and to look through them again
    and again takes a tenth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the block's freed memory serve what is asked for next.

    glibc gives large arrays back to the system, which clears new pages for the next ones: a third
    of the time of a network that makes an array in each layer. What is free at the end goes back.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # not glibc
        yield
        return
    _set_thresholds(libc, KEPT)
    try:
        yield
    finally:
        _set_thresholds(libc, USUAL)
        libc.malloc_trim(0)


def _set_thresholds(libc: ctypes.CDLL, num_bytes: tuple[int, int, int]) -> None:
    names = (M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD)
    for name, value in zip(names, num_bytes, strict=True):
        libc.mallopt(name, value)
