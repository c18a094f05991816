"""Decoded frames on the CPU -> one encoder's network input on its device.

Shapes: C, H, W pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.decode.frames import SampledFrame
from extract.decode.planes import rgb_of_planes
from extract.encode.encoders.base import Encoder
from extract.encode.gpu.clock import GpuClock
from extract.encode.gpu.frames_in import gpu_input
from extract.encode.preprocess import preprocess_frames

__all__ = ["Mapping", "network_input"]

AT_ONCE = 16
"""Frames that are worked on ahead: their pixels are several times larger than small frames."""


class Mapping(Protocol):
    """``map``, or something that works on several items side by side."""

    def __call__(
        self, function: Callable[[SampledFrame], Tensor], items: Iterable[SampledFrame], /
    ) -> Iterator[Tensor]:
        """Return the results in the order of the items."""


def network_input(
    encoder: Encoder,
    frames: Sequence[SampledFrame],
    run: Mapping = map,
    clock: GpuClock | None = None,
) -> Iterator[Tensor]:
    """Yield the preprocessed pixels_CHW of each frame; a video may change its size midway.

    Args:
        encoder: Says what to do, and on which device.
        frames: In the order of the results.
        run: Who works on the frames, for a CPU. There each is taken from where it lies, alone. A
            GPU gets frames of one size together.
        clock: Counts what a GPU does.
    """
    if encoder.device.type != "cpu":
        yield from gpu_input(encoder, frames, clock or GpuClock())
        return

    def one(frame: SampledFrame) -> Tensor:
        # Frames of others may be mirrored views, or not for writing: torch takes neither.
        rgb = np.require(_rgb(frame), requirements=["C", "W"])
        return preprocess_frames(torch.from_numpy(rgb)[None], encoder.preprocess)[0]

    for start in range(0, len(frames), AT_ONCE):
        yield from run(one, frames[start : start + AT_ONCE])


def _rgb(frame: SampledFrame) -> NDArray[np.uint8]:
    if frame.matrix is None:
        return frame.pixels
    return rgb_of_planes(frame.pixels, frame.matrix)
