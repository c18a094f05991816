"""Decoded frames on the CPU -> one encoder's network input on its device.

Shapes: N frames, C, H, W pixels, P rows of planes (``extract.decode.planes``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from extract.decode.frames import SampledFrame
from extract.decode.planes import YuvMatrix, rgb_levels
from extract.encode.encoders.base import Encoder
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
    encoder: Encoder, frames: Sequence[SampledFrame], run: Mapping = map
) -> Iterator[Tensor]:
    """Yield the preprocessed pixels_CHW of each frame; a video may change its size midway.

    Args:
        encoder: Says what to do, and on which device.
        frames: In the order of the results.
        run: Who works on the frames, for a CPU. There each is taken from where it lies, alone. A
            GPU gets frames of one size together.
    """
    if encoder.device.type != "cpu":
        yield from _on_device(encoder, frames)
        return

    def one(frame: SampledFrame) -> Tensor:
        # Frames of others may be mirrored views, or not for writing: torch takes neither.
        pixels = torch.from_numpy(np.require(frame.pixels, requirements=["C", "W"]))
        rgb_1HWC = _rgb(pixels[None], frame.matrix)
        return preprocess_frames(rgb_1HWC.contiguous(), encoder.preprocess)[0]

    for start in range(0, len(frames), AT_ONCE):
        yield from run(one, frames[start : start + AT_ONCE])


def _on_device(encoder: Encoder, frames: Sequence[SampledFrame]) -> Iterator[Tensor]:
    for (_, matrix), group in groupby(frames, key=lambda frame: (frame.pixels.shape, frame.matrix)):
        images = [frame.pixels for frame in group]
        # Pinned memory lets the copy run beside the decoding of the next frames.
        is_pinned = encoder.device.type == "cuda"
        shape = (len(images), *images[0].shape)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
        np.stack(images, out=pixels.numpy())
        pixels = pixels.to(encoder.device, non_blocking=True)
        yield from preprocess_frames(_rgb(pixels, matrix), encoder.preprocess)


def _rgb(pixels: Tensor, matrix: YuvMatrix | None) -> Tensor:
    """Return RGB frames (N, H, W, 3); those with a matrix are planes (N, P, W)."""
    if matrix is None:
        return pixels
    levels_NCHW = torch.stack(rgb_levels(pixels.int(), matrix), dim=1)
    return levels_NCHW.to(torch.uint8).permute(0, 2, 3, 1)
