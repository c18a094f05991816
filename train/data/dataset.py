"""From samples in seconds to rows of a stream, and from windows of rows to batches.

samples + stream -> SampleRows; windows + task -> Batch on the device.

Shapes: B batch, T rows of a window, R rows of a sample, D feature width.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.errors import AnnotationError
from cache_schema.stream import Stream
from cache_schema.timeline import rows_between
from train.data.windows import Window
from train.task import IGNORED, Sample, Task

__all__ = ["Batch", "BatchReader", "Found", "SampleRows", "find_rows"]


Target = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRows:
    """A sample, found in the stream."""

    sample: Sample
    video_id: str
    """As the stream names it."""
    first_row: int
    """Of the sample, from the video's first stored row."""
    num_stored: int
    """Stored rows of the sample."""
    times_R2: NDArray[np.float64]
    """Start and end second of each row; one row is the mean of ``rows_per_token`` stored ones."""
    rows_per_token: int = 1
    """The last row of a sample may be the mean of fewer."""

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.times_R2)

    def stored(self, window: Window) -> tuple[str, int, int]:
        """Return video, first stored row and number of stored rows of a window."""
        start = window.start * self.rows_per_token
        stop = min(window.stop * self.rows_per_token, self.num_stored)
        return self.video_id, self.first_row + start, stop - start


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The samples of a subset that the stream holds, and the names of those it does not."""

    rows: list[SampleRows]
    missing: list[str]


def find_rows(
    samples: Sequence[Sample], stream: Stream, *, rows_per_token: int = 1, allow_missing: int
) -> Found:
    """Find the rows of every sample.

    Args:
        samples: Of one subset.
        stream: Where the features are.
        rows_per_token: Consecutive stored rows that become one row of a sample.
        allow_missing: Largest number of videos that may be missing.

    Raises:
        AnnotationError: if more are missing, or all are.
    """
    times_of = lru_cache(maxsize=64)(stream.times)  # many samples may share a video
    rows: list[SampleRows] = []
    missing: dict[str, None] = {}
    for sample in samples:
        video_id = stream.resolve(sample.video_id)
        found = video_id and _rows_of(sample, video_id, times_of(video_id), rows_per_token)
        if found:
            rows.append(found)
        else:
            missing[sample.video_id] = None
    if len(missing) > allow_missing or not rows:
        _refuse(list(missing), stream, len({sample.video_id for sample in samples}), allow_missing)
    return Found(rows=rows, missing=list(missing))


def _rows_of(
    sample: Sample, video_id: str, times_R2: NDArray[np.float64], rows_per_token: int
) -> SampleRows | None:
    first, last = rows_between(times_R2, sample.start_seconds, sample.end_seconds)
    if first == last:
        return None
    firsts = np.arange(first, last, rows_per_token)
    lasts = np.minimum(firsts + rows_per_token, last) - 1
    return SampleRows(
        sample=sample,
        video_id=video_id,
        first_row=first,
        num_stored=last - first,
        times_R2=np.stack([times_R2[firsts, 0], times_R2[lasts, 1]], axis=1),
        rows_per_token=rows_per_token,
    )


def _refuse(missing: Sequence[str], stream: Stream, num_videos: int, allowed: int) -> None:
    named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    raise AnnotationError(
        f"stream '{stream.name}' holds no rows for {len(missing)} of {num_videos} annotated "
        f"videos ({named or 'the annotations name none'}); {allowed} may be missing. Extract "
        "them into the store, or allow it with --allow-missing."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Windows as tensors on the device; padding lies behind each window's rows."""

    features_BTD: Tensor
    """float32; (B, T, N, D) for rows that are grids of N tokens."""
    valid_BT: Tensor
    """True for rows, False for padding."""
    targets: Mapping[str, Tensor]
    """What the task asks of each window, by name; see ``Task.targets``."""
    windows: Sequence[Window]
    samples: Sequence[SampleRows]
    """The sample of each window."""

    @property
    def queries(self) -> list[str]:
        """Return the text of each window's sample."""
        return [rows.sample.query for rows in self.samples]


class BatchReader:
    """Read windows of one list of samples into batches. For one thread at a time.

    The bytes go from the page cache into one reused buffer (pinned for a GPU) and from there,
    as float32, to the device.
    """

    def __init__(
        self, task: Task, stream: Stream, rows: Sequence[SampleRows], device: torch.device
    ) -> None:
        self._task = task
        self._stream = stream
        self._rows = rows
        self._device = device
        self._buffer = torch.empty(0)
        self._copied: torch.cuda.Event | None = None

    def read(self, windows: Sequence[Window]) -> Batch:
        """Return the batch of these windows."""
        samples = [self._rows[window.sample] for window in windows]
        num_rows = max(window.num_rows for window in windows)
        lengths_B1 = torch.tensor([[window.num_rows] for window in windows])
        return Batch(
            features_BTD=self._features(windows, samples, num_rows),
            valid_BT=(torch.arange(num_rows) < lengths_B1).to(self._device),
            targets=self._targets(windows, samples),
            windows=windows,
            samples=samples,
        )

    def _features(
        self, windows: Sequence[Window], samples: Sequence[SampleRows], num_rows: int
    ) -> Tensor:
        rows_per_token = samples[0].rows_per_token
        spans = [rows.stored(window) for rows, window in zip(samples, windows, strict=True)]
        with _current(self._device):
            raw = self._raw(len(windows), num_rows * rows_per_token)
            self._stream.read_windows(spans, _as_numpy(raw))
            moved = raw.to(self._device, non_blocking=True)
            if self._device.type == "cuda":
                self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._copied.record()
            # A copy in any case: the buffer is filled again while the model works.
            features_BTD = moved.to(torch.float32, copy=True)
        if rows_per_token == 1:
            return features_BTD
        return _mean_of_groups(features_BTD, [count for *_, count in spans], rows_per_token)

    def _raw(self, num_windows: int, num_rows: int) -> Tensor:
        """Return a view of the buffer, once its last content has left for the device."""
        if self._copied is not None:
            self._copied.synchronize()
        shape = (num_windows, num_rows, *self._stream.row_shape)
        size = int(np.prod(shape))
        if self._buffer.numel() < size:
            dtype = getattr(torch, self._stream.recipe.store_dtype)
            pinned = self._device.type == "cuda"
            self._buffer = torch.empty(size, dtype=dtype, pin_memory=pinned)
        return self._buffer[:size].view(shape)

    def _targets(
        self, windows: Sequence[Window], samples: Sequence[SampleRows]
    ) -> dict[str, Tensor]:
        targets = [
            self._window_targets(rows, window)
            for rows, window in zip(samples, windows, strict=True)
        ]
        return {
            name: torch.from_numpy(_stacked([arrays[name] for arrays in targets])).to(self._device)
            for name in targets[0]
        }

    def _window_targets(self, rows: SampleRows, window: Window) -> Mapping[str, Target]:
        targets = self._task.targets(rows.sample, rows.times_R2, window)
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


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one: a new thread starts on the first, whatever its process is on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


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
