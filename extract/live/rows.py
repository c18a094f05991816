"""Ticks -> rows, each as soon as its window is whole; the same bits as the stored rows of a file.

Shapes: B batch, F frames per window, C, H, W pixels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cache_schema.errors import VideoError
from cache_schema.recipe import Recipe
from cache_schema.stored_numbers import Array
from cache_schema.timeline import RowClock
from extract.decode.frames import Frame, SampledFrame
from extract.encode.batching import are_finite, to_stored
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders.base import Encoder
from extract.encode.network_input import network_input
from extract.encode.windows import WindowAssembler
from extract.live.capture import Tick
from extract.live.counts import LiveCounts

__all__ = ["LiveRow", "RowMaker", "smallest_equal_batch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveRow:
    """One row of a source that may still be running."""

    values: Array
    """(*row_shape) in the stored dtype; bfloat16 as its uint16 bits."""
    start: float
    end: float
    """Seconds from the start of the stream; the video may turn out to end before."""
    arrived: float
    """``time.monotonic()`` when its last frame was there."""
    connection: int
    """From 0; rows of another one are not about what came before."""


class RowMaker:
    """Makes rows of ticks that come in order, some of which may be missing."""

    def __init__(
        self,
        encoder: Encoder,
        threads: EncodeThreads,
        recipe: Recipe,
        counts: LiveCounts,
        batch_size: int,
    ) -> None:
        """Begin.

        Args:
            encoder: The network.
            threads: What encodes; one is enough.
            recipe: How its rows are sampled and stored.
            counts: Gets the rows that are left out.
            batch_size: Of each call of the network; one window, and zeros.
        """
        self._encoder = encoder
        self._threads = threads
        self._recipe = recipe
        self._counts = counts
        self._batch_size = batch_size
        self._last: Tick | None = None
        self._pixels: tuple[Frame, Tensor] | None = None
        self._begin(0)

    def push(self, tick: Tick) -> Iterator[LiveRow]:
        """Yield the rows that a tick completes."""
        last = self._last
        if last is None or tick.connection != last.connection:
            self._begin(0)
        elif tick.number != last.number + 1:
            self._skip_to(tick)
        self._last = tick
        if tick.number < self._first_row * self._recipe.sampling.stride_frames:
            return  # of a window that began with ticks that are gone
        for window_FCHW in self._windows.push(self._input(tick.rgb), 1):
            yield self._row(window_FCHW, tick, end_seconds=math.inf)

    def finish(self, end_seconds: float) -> Iterator[LiveRow]:
        """Yield the rows of windows that reach behind the last frame.

        Args:
            end_seconds: End of the video, in seconds of the stream.
        """
        if self._last is None:
            return
        for window_FCHW in self._windows.finish():
            yield self._row(window_FCHW, self._last, end_seconds - self._last.offset)

    def _begin(self, first_row: int) -> None:
        sampling = self._recipe.sampling
        self._first_row = first_row
        self._windows = WindowAssembler(sampling.frames_per_window, sampling.stride_frames)

    def _skip_to(self, tick: Tick) -> None:
        """Begin at the first window that all ticks are there for."""
        expected = self._first_row + self._windows.num_windows
        first_row = math.ceil(tick.number / self._recipe.sampling.stride_frames)
        self._counts.dropped_rows += max(0, first_row - expected)
        self._begin(first_row)

    def _input(self, rgb: Frame) -> Tensor:
        """Return a frame's pixels (C, H, W); those of a frame that is shown on are kept.

        Ticks of one shown frame have the same array object. It is kept, so no other gets its place.
        """
        if self._pixels is None or self._pixels[0] is not rgb:
            (pixels_CHW,) = network_input(self._encoder, [SampledFrame(pixels=rgb, num_ticks=1)])
            self._pixels = (rgb, pixels_CHW)
        return self._pixels[1]

    def _row(self, window_FCHW: Tensor, tick: Tick, end_seconds: float) -> LiveRow:
        number = self._first_row + self._windows.num_windows - 1
        clock = RowClock(self._recipe.sampling, end_seconds)
        ((start, end),) = clock.times(number, 1)
        rows = self._threads.submit(
            self._encoder, window_FCHW[None], self._batch_size, self._recipe.store_dtype
        ).result()
        if not are_finite(rows):
            raise VideoError(
                f"encoder '{self._recipe.encoder.id}': the feature at {start:.2f} s is infinite or "
                f"NaN in {self._recipe.store_dtype}."
            )
        return LiveRow(
            values=to_stored(rows, self._recipe.store_dtype)[0],
            start=float(start) + tick.offset,
            end=float(end) + tick.offset,
            arrived=tick.arrived,
            connection=tick.connection,
        )


def smallest_equal_batch(encoder: Encoder, threads: EncodeThreads, batch_size: int) -> int:
    """Return the smallest batch that gives the bits of stage 1's batches on this machine.

    One row at a time through a batch of eight costs eight. Whether a smaller one gives the same
    bits depends on network, library and processor, so it is tried, on noise. On a GPU no bits are
    promised, and one window is taken.
    """
    if encoder.device.type != "cpu":
        return 1
    size = encoder.preprocess.crop or encoder.preprocess.size
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, encoder.frames_per_window, 3, *size)
    noise_BFCHW = torch.randn(shape, generator=generator)
    whole = threads.submit(encoder, noise_BFCHW, batch_size).result()
    for size_of_batch in (size for size in (1, 2, 4) if size < batch_size):
        places = (slice(None, size_of_batch), slice(-size_of_batch, None))
        alone = [threads.submit(encoder, noise_BFCHW[place], size_of_batch) for place in places]
        if all(map(torch.equal, [rows.result() for rows in alone], [whole[p] for p in places])):
            return size_of_batch
    return batch_size
