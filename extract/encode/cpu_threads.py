"""Encoding on a CPU: several batches side by side, each on one thread.

Matrix libraries sum in another order as soon as they use more than one thread: with two threads
EfficientNet's rows differ by up to 8e-6 from those of one, and after rounding to float16 still in
0.7 % of the values. A batch on one thread gives the same bits whatever runs beside it, so rows
depend neither on the number of cores nor on the number of workers that share them.

Shapes: B windows, F frames per window, C, H, W pixels.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from extract.encode.encoders.base import Encoder, encode_fixed
from extract.encode.gpu.clock import GpuClock
from extract.encode.gpu.rows_out import ComingRows, RowsOfGpu

__all__ = ["EncodeThreads", "threads_for"]

T = TypeVar("T")

MOST_THREADS = 8
"""Each thread holds a batch of windows; with more cores than that, more workers are the way."""


def threads_for(num_processes: int) -> int:
    """Return the threads of each of several processes that share the cores torch may use."""
    return max(1, min(MOST_THREADS, torch.get_num_threads() // num_processes))


class EncodeThreads:
    """Threads that each run a network on one core."""

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self.gpu_clock = GpuClock()
        """Counts what a GPU does in place of the threads."""
        self._pool = ThreadPoolExecutor(num_threads, "encode", initializer=_without_helpers)

    def __enter__(self) -> "EncodeThreads":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        # What was set last, here by its threads, is for all threads that begin later, too.
        torch.set_num_threads(torch.get_num_threads())

    def map(self, function: Callable[[T], Tensor], items: Iterable[T]) -> Iterator[Tensor]:
        """Do as ``map`` does, on the threads, ahead of whoever iterates."""
        return self._pool.map(function, items)

    def submit(
        self,
        encoder: Encoder,
        pixels_BFCHW: Tensor,
        batch_size: int,
        store_dtype: str = "float32",
    ) -> ComingRows:
        """Encode windows in batches of a size: on a thread, or by a GPU, which is told at once.

        Returns:
            The rows to come, rounded to the stored dtype.
        """
        dtype = getattr(torch, store_dtype)

        def encode() -> Tensor:
            return encode_fixed(encoder, pixels_BFCHW, batch_size).to(dtype)

        if encoder.device.type == "cpu":
            return self._pool.submit(encode)
        with self.gpu_clock.around(encoder.device):
            return RowsOfGpu(encode())

    @property
    def num_ahead(self) -> int:
        """Batches that may be under way: one for each thread, and one that waits for the first."""
        return self._num_threads + 1


def _without_helpers() -> None:
    """Have torch work in this thread alone, whatever number other threads set."""
    torch.get_num_threads()  # only once asked, a thread does not take what others set
    torch.set_num_threads(1)
