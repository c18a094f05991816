"""From windows of rows to batches: windows + task -> Batch on the device.

Shapes: B windows, Q samples, T rows of a window, R rows of a sample, D feature width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.stream import Stream
from train.data.samples import SampleRows
from train.task import IGNORED, Sample, Window

__all__ = ["Ask", "Batch", "BatchReader"]

Target = NDArray[Any]
"""Integers or float32."""

Ask = Callable[[Sample, NDArray[np.float64], Window], Mapping[str, Target]]
"""Sample, times of all its rows and window -> arrays by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Windows as tensors on the device; padding lies behind each window's rows."""

    features_BTD: Tensor
    """float32; (B, T, N, D) for rows that are grids of N tokens."""
    valid_BT: Tensor
    """True for rows, False for padding."""
    targets: Mapping[str, Tensor]
    """What the task asks of each window's samples, by name; see ``Task.targets``. Empty without
    any."""
    windows: Sequence[Window]
    rows: Sequence[SampleRows]
    """What each window shows a part of."""
    window_of_Q: Tensor
    """The window of each sample: samples about the same rows share one."""

    def tensors(self) -> list[Tensor]:
        """Return all of its tensors."""
        return [self.features_BTD, self.valid_BT, self.window_of_Q, *self.targets.values()]

    @property
    def queries(self) -> list[str]:
        """Return the text of every sample."""
        return [sample.query for rows in self.rows for sample in rows.samples]


class BatchReader:
    """Read windows of one list of samples into batches. For one thread at a time.

    The bytes go from the page cache into one reused buffer (pinned for a GPU) and from there,
    as float32, to the device. A GPU copies them while it works for the model: in a stream of their
    own, since in the model's each copy would wait for all steps that were launched before it.
    """

    def __init__(
        self, ask: Ask, stream: Stream, rows: Sequence[SampleRows], device: torch.device
    ) -> None:
        """Prepare to read.

        Args:
            ask: What a batch is to hold besides features: a task's targets, or what a head must
                be told of videos without annotations.
            stream: Where the rows are.
            rows: The samples.
            device: Where batches go.
        """
        self._ask = ask
        self._stream = stream
        self._rows = rows
        self._device = device
        self._buffer = torch.empty(0)
        self._copies = _stream_of_copies(device)

    def spans(self, windows: Sequence[Window]) -> list[tuple[str, int, int]]:
        """Return the stored rows that a batch of these windows reads."""
        return [self._rows[window.sample].stored(window) for window in windows]

    def read(self, windows: Sequence[Window]) -> Batch:
        """Return the batch of these windows, once it is all there."""
        if self._copies is None:
            return self._read(windows)
        # A new thread starts on the first GPU, whatever its process is on.
        with torch.cuda.device(self._device), torch.cuda.stream(self._copies):
            batch = self._read(windows)
        self._copies.synchronize()
        for tensor in batch.tensors():
            # Its memory is not to be written anew while the model may read it.
            tensor.record_stream(torch.cuda.default_stream(self._device))
        return batch

    def _read(self, windows: Sequence[Window]) -> Batch:
        all_rows = [self._rows[window.sample] for window in windows]
        num_samples_B = torch.tensor([len(rows.samples) for rows in all_rows])
        num_rows = max(window.num_rows for window in windows)
        lengths_B1 = torch.tensor([[window.num_rows] for window in windows])
        return Batch(
            features_BTD=self._features(windows, all_rows[0].rows_per_token, num_rows),
            valid_BT=(torch.arange(num_rows) < lengths_B1).to(self._device),
            targets=self._targets(windows, all_rows),
            windows=windows,
            rows=all_rows,
            window_of_Q=torch.repeat_interleave(num_samples_B).to(self._device),
        )

    def _features(self, windows: Sequence[Window], rows_per_token: int, num_rows: int) -> Tensor:
        spans = self.spans(windows)
        raw = self._raw(len(windows), num_rows * rows_per_token)
        self._stream.read_windows(spans, _as_numpy(raw))
        # A copy in any case: the buffer is filled again while the model works.
        features_BTD = raw.to(self._device, non_blocking=True).to(torch.float32, copy=True)
        if rows_per_token == 1:
            return features_BTD
        return _mean_of_groups(features_BTD, [count for *_, count in spans], rows_per_token)

    def _raw(self, num_windows: int, num_rows: int) -> Tensor:
        """Return a view of the buffer, made larger if need be."""
        shape = (num_windows, num_rows, *self._stream.row_shape)
        size = int(np.prod(shape))
        if self._buffer.numel() < size:
            dtype = getattr(torch, self._stream.recipe.store_dtype)
            pinned = self._device.type == "cuda"
            self._buffer = torch.empty(size, dtype=dtype, pin_memory=pinned)
        return self._buffer[:size].view(shape)

    def _targets(
        self, windows: Sequence[Window], all_rows: Sequence[SampleRows]
    ) -> dict[str, Tensor]:
        targets = [
            self._window_targets(sample, rows, window)
            for rows, window in zip(all_rows, windows, strict=True)
            for sample in rows.samples
        ]
        return {
            name: torch.from_numpy(_stacked([arrays[name] for arrays in targets])).to(self._device)
            for name in targets[0]
        }

    def _window_targets(
        self, sample: Sample, rows: SampleRows, window: Window
    ) -> Mapping[str, Target]:
        targets = self._ask(sample, rows.times_R2, window)
        if window.num_context < window.num_rows:
            return targets
        return {name: np.full_like(array, _filler(array)) for name, array in targets.items()}


def _mean_of_groups(stored_BSD: Tensor, counts: Sequence[int], size: int) -> Tensor:
    """Return the means of ``size`` consecutive stored rows; a window's last group may be cut short.

    Args:
        stored_BSD: S stored rows, a multiple of ``size``; behind a window's own lies anything.
        counts: Stored rows of each window.
        size: Of a group.
    """
    counts_B1 = torch.tensor(counts, device=stored_BSD.device)[:, None]
    is_own_BS = torch.arange(stored_BSD.shape[1], device=stored_BSD.device) < counts_B1
    is_own = is_own_BS.reshape(*is_own_BS.shape, *[1] * (stored_BSD.dim() - 2))
    groups = (len(counts), -1, size)
    sums = stored_BSD.where(is_own, 0.0).reshape(*groups, *stored_BSD.shape[2:]).sum(dim=2)
    numbers = is_own.reshape(*groups, *is_own.shape[2:]).sum(dim=2)
    return sums / numbers.clamp(min=1)


def _stream_of_copies(device: torch.device) -> torch.cuda.Stream | None:
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _stacked(arrays: Sequence[Target]) -> Target:
    """Stack arrays of different sizes, padded at the end of each dimension."""
    sizes = np.array([array.shape for array in arrays]).max(axis=0)
    stacked = np.full((len(arrays), *sizes), _filler(arrays[0]), arrays[0].dtype)
    for place, array in zip(stacked, arrays, strict=True):
        place[tuple(map(slice, array.shape))] = array
    return stacked


def _filler(array: Target) -> float:
    return IGNORED if array.dtype.kind == "i" else math.nan


def _as_numpy(tensor: Tensor) -> NDArray[np.generic]:
    """View a tensor as the store's array type; NumPy has no bfloat16, so its bits are shown."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    array: NDArray[np.generic] = tensor.numpy()
    return array
