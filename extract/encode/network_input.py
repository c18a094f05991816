"""Decoded frames on the CPU -> one encoder's network input on its device.

Shapes: C, H, W pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from extract.decode.frames import SampledFrame
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
        rgb = np.require(frame.rgb, requirements=["C", "W"])
        return preprocess_frames(torch.from_numpy(rgb)[None], encoder.preprocess)[0]

    for start in range(0, len(frames), AT_ONCE):
        yield from run(one, frames[start : start + AT_ONCE])


def _on_device(encoder: Encoder, frames: Sequence[SampledFrame]) -> Iterator[Tensor]:
    for _, group in groupby((frame.rgb for frame in frames), key=lambda rgb: rgb.shape):
        images = list(group)
        # Pinned memory lets the copy run beside the decoding of the next frames.
        is_pinned = encoder.device.type == "cuda"
        shape = (len(images), *images[0].shape)
        frames_NHWC = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
        np.stack(images, out=frames_NHWC.numpy())
        frames_NHWC = frames_NHWC.to(encoder.device, non_blocking=True)
        yield from preprocess_frames(frames_NHWC, encoder.preprocess)
