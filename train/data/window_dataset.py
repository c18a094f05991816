"""Windows of a stream as a torch dataset: for training loops of one's own.

``vllm-train`` itself reads faster still, through one prefetch thread (``train.data.prefetch``).

Shapes: B windows, T rows of a window, 2 start and end seconds.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cache_schema.errors import ConfigError
from cache_schema.stored_numbers import as_float32
from cache_schema.stream import RowSpan, Stream

__all__ = ["FeatureWindow", "WindowDataset"]


Indices = Iterable[int] | slice | NDArray[np.integer[Any]] | NDArray[np.bool_] | Tensor


class FeatureWindow(NamedTuple):
    """Consecutive rows of one video, filled up with zeros; of a batch, every field of B windows."""

    features: Tensor
    """float32 (T, *row_shape), whatever is stored; zeros behind the last row."""
    times: Tensor
    """float64 (T, 2), start and end seconds; zeros behind the last row."""
    is_valid: Tensor
    """bool (T,): which of the rows there are."""
    video_id: str | Sequence[str]
    first_row: int | Tensor
    """Of the window, counted from the video's first row."""


class WindowDataset(Dataset[FeatureWindow]):
    """Windows of equal length that show every row of a stream; map-style and picklable.

    Works with ``torch.utils.data.DataLoader`` as it is, worker processes included: each opens the
    store for itself. Workers that read a bucket need ``multiprocessing_context="spawn"``. A loader
    asks for a whole batch at once (``__getitems__``), which is then read by one call of
    ``Stream.read_windows``.
    """

    def __init__(
        self,
        stream: Stream,
        window_rows: int,
        *,
        stride_rows: int | None = None,
        video_ids: Iterable[str] | None = None,
    ) -> None:
        """Lay windows over videos.

        Args:
            stream: As ``open_store(path).stream(name)`` gives it.
            window_rows: T.
            stride_rows: Rows between the starts of windows; None puts them side by side.
            video_ids: Of which videos; None takes all.

        Raises:
            ConfigError: if a number of rows is below 1.
            StoreError: if the stream does not hold a video.
        """
        self.stream = stream
        self.window_rows = window_rows
        self.windows: list[RowSpan] = stream.windows(
            window_rows, stride_rows=stride_rows, video_ids=video_ids
        )

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> FeatureWindow:
        """Return one window."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[FeatureWindow]:
        """Return several windows, read at once; torch's loaders call this with a batch."""
        spans = self._spans(indices)
        batch = self._read(spans)
        return [
            FeatureWindow(features, times, is_valid, span.video_id, span.first_row)
            for features, times, is_valid, span in zip(
                batch.features, batch.times, batch.is_valid, spans, strict=True
            )
        ]

    def read(self, indices: Indices) -> FeatureWindow:
        """Return a batch, fields with B in front: the fastest way, for loops without a loader.

        Args:
            indices: Numbers of windows, a slice of them, or true and false for every window.

        Raises:
            ConfigError: if they are something else.
            IndexError: if there is no such window.
        """
        return self._read(self._spans(indices))

    def _spans(self, indices: Indices) -> list[RowSpan]:
        if isinstance(indices, slice):
            return self.windows[indices]
        chosen = np.asarray(list(indices) if isinstance(indices, Iterator) else indices)
        if chosen.dtype == bool and chosen.shape == (len(self),):
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ConfigError(
                f"indices are {chosen.dtype} {chosen.shape}, expected numbers of windows, a slice, "
                f"or a mask of shape ({len(self)},)."
            )
        return [self.windows[index] for index in chosen]

    def _read(self, spans: Sequence[RowSpan]) -> FeatureWindow:
        stream, shape = self.stream, (len(spans), self.window_rows)
        stored = np.empty((*shape, *stream.row_shape), stream.numpy_dtype)
        stream.read_windows(spans, stored)
        times_BT2 = np.zeros((*shape, 2))
        for times_T2, span in zip(times_BT2, spans, strict=True):
            rows = slice(span.first_row, span.first_row + span.num_rows)
            times_T2[: span.num_rows] = stream.times(span.video_id)[rows]
        lengths_B = np.array([span.num_rows for span in spans], np.int64)
        return FeatureWindow(
            features=torch.from_numpy(as_float32(stored, stream.recipe.store_dtype)),
            times=torch.from_numpy(times_BT2),
            is_valid=torch.from_numpy(np.arange(self.window_rows) < lengths_B[:, None]),
            video_id=[span.video_id for span in spans],
            first_row=torch.tensor([span.first_row for span in spans], dtype=torch.int64),
        )
