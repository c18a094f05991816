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

from extract.encode.encoders.base import Encoder

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
        self._pool = ThreadPoolExecutor(
            num_threads, "encode", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> "EncodeThreads":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def map(self, function: Callable[[T], Tensor], items: Iterable[T]) -> Iterator[Tensor]:
        """Do as ``map`` does, on the threads, ahead of whoever iterates."""
        return self._pool.map(function, items)

    def spread(self, encoder: Encoder, batch_size: int) -> tuple[Encoder, int]:
        """Return an encoder, and how many batches of the size to call it with.

        On a CPU that is one batch for every thread; a GPU takes one.
        """
        if encoder.device.type != "cpu":
            return encoder, 1
        return _SpreadEncoder(encoder, batch_size, self._pool), self._num_threads


class _SpreadEncoder:
    """An encoder that cuts what it is given into batches of one size, a thread for each."""

    def __init__(self, encoder: Encoder, batch_size: int, pool: ThreadPoolExecutor) -> None:
        self.recipe = encoder.recipe
        self.preprocess = encoder.preprocess
        self.row_shape = encoder.row_shape
        self.frames_per_window = encoder.frames_per_window
        self.device = encoder.device
        self._encode = encoder.encode
        self._batch_size = batch_size
        self._pool = pool

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return the rows of a batch of windows; B is a multiple of the batch size."""
        return torch.cat(
            list(self._pool.map(self._encode, torch.split(pixels_BFCHW, self._batch_size)))
        )
