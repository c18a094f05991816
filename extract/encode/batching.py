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

from cache_schema.stream import Array
from extract.encode.encoders.base import Encoder, encode_fixed

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


@dataclass(slots=True)
class _Pending(Generic[Owner]):
    owner: Owner
    windows: deque[Tensor] = field(default_factory=deque)
    has_rows_out: bool = False
    is_ended: bool = False


Result = Rows[Owner] | Finished[Owner] | NotFinite[Owner]


class EncodeQueue(Generic[Owner]):
    """First in, first out: rows come back grouped by owner, in the order of the windows.

    Owners come one after the other: once another owner pushes, the earlier one has ended.
    """

    def __init__(
        self, encoder: Encoder, batch_size: int, store_dtype: str, *, at_once: int = 1
    ) -> None:
        """Prepare an empty queue.

        Args:
            encoder: The network.
            batch_size: Windows in each of its batches.
            store_dtype: Of the rows that are given out.
            at_once: Batches that the encoder takes in one call.
        """
        self._encoder = encoder
        self._batch_size = batch_size
        self._at_once = at_once
        self._store_dtype = store_dtype
        self._owners: deque[_Pending[Owner]] = deque()

    def push(self, owner: Owner, window_FCHW: Tensor) -> Iterator[Result[Owner]]:
        """Queue one window; yield what a full batch completes."""
        if not self._owners or self._owners[-1].owner is not owner:
            self._owners.append(_Pending(owner))
        self._owners[-1].windows.append(window_FCHW)
        if self._num_windows == self._batch_size * self._at_once:
            yield from self._run()

    def end(self, owner: Owner) -> Iterator[Finished[Owner]]:
        """Say that an owner's last window was pushed."""
        pending = self._owners[-1]
        pending.is_ended = True
        if not pending.windows:
            self._owners.pop()
            yield Finished(owner)

    def drop(self, owner: Owner) -> bool:
        """Forget an owner's queued windows; tell whether rows of it were given out before."""
        if not self._owners or self._owners[-1].owner is not owner:
            return False
        return self._owners.pop().has_rows_out

    def flush(self) -> Iterator[Result[Owner]]:
        """Encode what is queued, however few."""
        if self._num_windows:
            yield from self._run()

    @property
    def _num_windows(self) -> int:
        return sum(len(pending.windows) for pending in self._owners)

    def _run(self) -> Iterator[Result[Owner]]:
        windows = [window for pending in self._owners for window in pending.windows]
        num_batches = -(-len(windows) // self._batch_size)
        rows = encode_fixed(self._encoder, torch.stack(windows), num_batches * self._batch_size)
        owners, self._owners = self._owners, deque()
        first = 0
        for pending in owners:
            last = first + len(pending.windows)
            yield from self._give_out(pending, rows[first:last])
            first = last

    def _give_out(self, pending: _Pending[Owner], rows: Tensor) -> Iterator[Result[Owner]]:
        if not are_finite(rows, self._store_dtype):
            yield NotFinite(pending.owner)
            return
        if not pending.is_ended:
            self._owners.append(_Pending(pending.owner, has_rows_out=True))
        yield Rows(pending.owner, to_stored(rows, self._store_dtype))
        if pending.is_ended:
            yield Finished(pending.owner)


def are_finite(rows: Tensor, store_dtype: str) -> bool:
    """Tell whether rows are numbers once they are rounded to the stored dtype."""
    return bool(torch.isfinite(rows.to(getattr(torch, store_dtype))).all())


def to_stored(rows: Tensor, store_dtype: str) -> Array:
    """Return encoder output as the array that is written: bfloat16 as its uint16 bits."""
    stored = rows.to(getattr(torch, store_dtype)).cpu().contiguous()
    bits = stored.view(torch.uint16) if store_dtype == "bfloat16" else stored
    array: Array = np.asarray(bits)
    return array
