"""Decoded frames on the CPU -> one encoder's network input on its device.

Shapes: C, H, W pixels.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from extract.decode import SampledFrame
from extract.encoders.base import Encoder
from extract.preprocess import preprocess_frames

__all__ = ["network_input"]


def network_input(encoder: Encoder, frames: Sequence[SampledFrame]) -> Iterator[Tensor]:
    """Yield the preprocessed pixels_CHW of each frame.

    Frames of one size go through the device together; a video may change its size midway.
    """
    for _, run in groupby((frame.rgb for frame in frames), key=lambda rgb: rgb.shape):
        frames_NHWC = torch.from_numpy(np.stack(list(run)))
        if encoder.device.type == "cuda":
            # Pinned memory lets the copy run beside the decoding of the next frames.
            frames_NHWC = frames_NHWC.pin_memory().to(encoder.device, non_blocking=True)
        yield from preprocess_frames(frames_NHWC, encoder.preprocess)
