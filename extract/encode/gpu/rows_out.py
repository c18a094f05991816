"""Rows of a batch that are asked for now and taken later."""

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ComingRows", "RowsOfGpu"]


class ComingRows(Protocol):
    """What ``concurrent.futures.Future`` offers, too."""

    def result(self) -> Tensor:
        """Wait for them, and return them."""


class RowsOfGpu:
    """Rows that are copied to memory as soon as the GPU has them.

    To look at what lies on a GPU means to wait for all that it was handed, later batches too, and
    it then has nothing to do while the next one is prepared.
    """

    def __init__(self, rows: Tensor) -> None:
        """Have them copied; a device other than CUDA's is waited for when they are looked at."""
        self._rows = rows
        self._copied: torch.cuda.Event | None = None
        if rows.is_cuda:
            self._rows = rows.to("cpu", non_blocking=True)  # into pinned memory
            # Else whoever waits keeps a core busy that decoding could use.
            self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._copied.record(torch.cuda.current_stream(rows.device))

    def result(self) -> Tensor:
        """Wait for them, but not for what the GPU was handed later."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._rows
