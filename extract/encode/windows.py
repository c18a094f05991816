"""Sampled frames -> windows: groups of frames that become one row each.

Frames arrive one by one, already preprocessed, so overlapping windows share them and memory holds
one window at most.

Shapes: F frames per window, C, H, W pixels.
"""

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from cache_schema.timeline import count_rows

__all__ = ["WindowAssembler"]


class WindowAssembler:
    """Emit window i = frames [i * stride, i * stride + length) as soon as it is complete."""

    def __init__(self, frames_per_window: int, stride_frames: int) -> None:
        self._length = frames_per_window
        self._stride = stride_frames
        self._frames: deque[Tensor] = deque()
        self._first = 0  # number of the oldest frame kept
        self.num_frames = 0
        self.num_windows = 0

    def push(self, pixels_CHW: Tensor, num_ticks: int) -> Iterator[Tensor]:
        """Add one frame ``num_ticks`` times; yield the windows (F, C, H, W) it completes."""
        for _ in range(num_ticks):
            self._frames.append(pixels_CHW)
            self.num_frames += 1
            if self.num_frames == self._next_start + self._length:
                yield self._emit()
            self._drop()

    def finish(self) -> Iterator[Tensor]:
        """Yield the windows the tail still needs, padded by repeating the last frame."""
        for _ in range(count_rows(self.num_frames, self._length, self._stride) - self.num_windows):
            yield self._emit()
            self._drop()

    @property
    def padded_frames(self) -> int:
        """How often the last frame is repeated in the last window."""
        end = (self.num_windows - 1) * self._stride + self._length
        return max(0, end - self.num_frames)

    @property
    def _next_start(self) -> int:
        return self.num_windows * self._stride

    def _emit(self) -> Tensor:
        skip = self._next_start - self._first
        frames = [self._frames[i] for i in range(skip, min(skip + self._length, len(self._frames)))]
        frames += [self._frames[-1]] * (self._length - len(frames))
        self.num_windows += 1
        return frames[0][None] if self._length == 1 else torch.stack(frames)

    def _drop(self) -> None:
        """Forget frames that no later window needs, but keep the last: it pads the tail."""
        while self._first < self._next_start and len(self._frames) > 1:
            self._frames.popleft()
            self._first += 1
