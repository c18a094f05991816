"""Decoded frames on the CPU -> one encoder's network input on its device.

Shapes: C, H, W pixels.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from extract.decode.frames import SampledFrame
from extract.encode.encoders.base import Encoder
from extract.encode.preprocess import preprocess_frames

__all__ = ["network_input"]


def network_input(encoder: Encoder, frames: Sequence[SampledFrame]) -> Iterator[Tensor]:
    """Yield the preprocessed pixels_CHW of each frame.

    Frames of one size go through the device together; a video may change its size midway.
    """
    for _, run in groupby((frame.rgb for frame in frames), key=lambda rgb: rgb.shape):
        images = list(run)
        # Pinned memory lets the copy run beside the decoding of the next frames.
        is_pinned = encoder.device.type == "cuda"
        shape = (len(images), *images[0].shape)
        frames_NHWC = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
        np.stack(images, out=frames_NHWC.numpy())
        frames_NHWC = frames_NHWC.to(encoder.device, non_blocking=True)
        yield from preprocess_frames(frames_NHWC, encoder.preprocess)
