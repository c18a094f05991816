"""Windows of many videos -> rows, in fixed-size batches that may span videos.

Every batch has exactly ``batch_size`` windows (the last one is filled up), so a row's value depends
on its own window alone, whatever videos were extracted beside it.

Shapes: F frames per window, C, H, W pixels.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from cache_schema.stored_numbers import Array
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders.base import Encoder
from extract.encode.gpu.rows_out import ComingRows

__all__ = ["EncodeQueue", "Finished", "NotFinite", "Result", "Rows", "are_finite", "to_stored"]

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Rows(Generic[Owner]):
    """Consecutive rows of one owner, in the stored dtype."""

    owner: Owner
    values: Array


@dataclass(frozen=True, slots=True)
class Finished(Generic[Owner]):
    """All rows of an owner have been given out."""

    owner: Owner


@dataclass(frozen=True, slots=True)
class NotFinite(Generic[Owner]):
    """A row of this owner is infinite or NaN in the stored dtype; its rows are of no use."""

    owner: Owner


@dataclass(slots=True, eq=False)
class _Pending(Generic[Owner]):
    """An owner whose rows have not all been given out."""

    owner: Owner
    num_under_way: int = 0
    """Of its windows, in batches that were handed over."""
    windows: deque[Tensor] = field(default_factory=deque)
    has_rows_out: bool = False
    is_ended: bool = False
    is_dropped: bool = False


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Owner]):
    """Windows that are being encoded: of whom, how many of each, and the rows to come."""

    parts: list[tuple[_Pending[Owner], int]]
    rows: ComingRows


Result = Rows[Owner] | Finished[Owner] | NotFinite[Owner]


class EncodeQueue(Generic[Owner]):
    """First in, first out: rows come back grouped by owner, in the order of the windows.

    Owners come one after the other: once another owner pushes, the earlier one has ended. A batch
    is handed over as soon as it is full, and its rows are taken some batches later: whoever pushes
    prepares the next windows meanwhile.
    """

    def __init__(
        self, encoder: Encoder, threads: EncodeThreads, batch_size: int, store_dtype: str
    ) -> None:
        """Prepare an empty queue.

        Args:
            encoder: The network.
            threads: What encodes.
            batch_size: Windows in each batch.
            store_dtype: Of the rows that are given out.
        """
        self._encoder = encoder
        self._threads = threads
        self._batch_size = batch_size
        self._store_dtype = store_dtype
        self._owners: deque[_Pending[Owner]] = deque()
        self._batches: deque[_Batch[Owner]] = deque()

    def push(self, owner: Owner, window_FCHW: Tensor) -> Iterator[Result[Owner]]:
        """Queue one window; yield what is complete, if it fills a batch."""
        if not self._owners or self._owners[-1].owner is not owner:
            self._owners.append(_Pending(owner))
        self._owners[-1].windows.append(window_FCHW)
        if sum(len(pending.windows) for pending in self._owners) == self._batch_size:
            self._submit()
            yield from self._take_rows(self._threads.num_ahead)

    def end(self, owner: Owner) -> Iterator[Finished[Owner]]:
        """Say that an owner's last window was pushed."""
        pending = self._owners[-1]
        pending.is_ended = True
        yield from self._finish(pending)

    def drop(self, owner: Owner) -> bool:
        """Forget an owner's windows; tell whether rows of it were given out before."""
        if not self._owners or self._owners[-1].owner is not owner:
            return False
        pending = self._owners.pop()
        pending.is_dropped = True
        return pending.has_rows_out

    def flush(self) -> Iterator[Result[Owner]]:
        """Encode what is queued, however few, and wait for all of it."""
        if any(pending.windows for pending in self._owners):
            self._submit()
        yield from self._take_rows(0)

    def _submit(self) -> None:
        parts: list[tuple[_Pending[Owner], int]] = []
        windows: list[Tensor] = []
        for pending in self._owners:
            if pending.windows:
                parts.append((pending, len(pending.windows)))
                pending.num_under_way += len(pending.windows)
                windows += pending.windows
                pending.windows.clear()
        rows = self._threads.submit(
            self._encoder, torch.stack(windows), self._batch_size, self._store_dtype
        )
        self._batches.append(_Batch(parts, rows))

    def _take_rows(self, num_ahead: int) -> Iterator[Result[Owner]]:
        """Wait until no more batches than these are under way."""
        while len(self._batches) > num_ahead:
            batch = self._batches.popleft()
            counts = [count for _, count in batch.parts]
            for (pending, count), rows in zip(
                batch.parts, torch.split(batch.rows.result(), counts), strict=True
            ):
                pending.num_under_way -= count
                if not pending.is_dropped:
                    yield from self._give_out(pending, rows)

    def _give_out(self, pending: _Pending[Owner], rows: Tensor) -> Iterator[Result[Owner]]:
        if not are_finite(rows):
            pending.is_dropped = True
            self._owners.remove(pending)
            yield NotFinite(pending.owner)
            return
        pending.has_rows_out = True
        yield Rows(pending.owner, to_stored(rows, self._store_dtype))
        yield from self._finish(pending)

    def _finish(self, pending: _Pending[Owner]) -> Iterator[Finished[Owner]]:
        if pending.is_ended and not pending.num_under_way and not pending.windows:
            self._owners.remove(pending)
            yield Finished(pending.owner)


def are_finite(rows: Tensor) -> bool:
    """Tell whether rows, in the dtype that is stored, are numbers."""
    return bool(torch.isfinite(rows).all())


def to_stored(rows: Tensor, store_dtype: str) -> Array:
    """Return encoder output as the array that is written: bfloat16 as its uint16 bits."""
    stored = rows.to(getattr(torch, store_dtype)).cpu().contiguous()
    bits = stored.view(torch.uint16) if store_dtype == "bfloat16" else stored
    array: Array = np.asarray(bits)
    return array
