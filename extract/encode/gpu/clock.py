"""How long a GPU was at work: events among its own instructions, so that nothing waits for it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["GpuClock"]

MOST_OPEN = 8
"""Blocks whose end a GPU has not reached yet. Before one more the oldest is waited for, so that
what it has yet to read does not fill memory."""


class GpuClock:
    """Adds up seconds from a block's first instruction to its last, on the GPU's own time.

    A GPU that waits for instructions within a block is counted as at work. Where blocks of several
    streams overlap, the time is counted once.
    """

    def __init__(self) -> None:
        self._open: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._last_end: torch.cuda.Event | None = None
        self._milliseconds = 0.0

    @contextmanager
    def around(self, device: torch.device) -> Iterator[None]:
        """Count what the block has a device do; on a CPU it counts nothing."""
        if device.type != "cuda":
            yield
            return
        start, end = (
            torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        with torch.cuda.device(device):
            start.record()
            yield
            end.record()
        self._open.append((start, end))
        if len(self._open) > MOST_OPEN:
            self._close()

    @property
    def seconds(self) -> float | None:
        """All blocks' seconds, once the GPU is done with them; None if no GPU did anything."""
        while self._open:
            self._close()
        return None if self._last_end is None else self._milliseconds / 1000

    def _close(self) -> None:
        start, end = self._open.popleft()
        end.synchronize()
        milliseconds = start.elapsed_time(end)
        if self._last_end is not None:
            milliseconds = min(milliseconds, self._last_end.elapsed_time(end))
        if milliseconds > 0:
            self._milliseconds += milliseconds
            self._last_end = end
