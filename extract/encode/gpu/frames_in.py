"""Decoded frames -> network input on a GPU, in streams of their own beside what it encodes.

    fetching    frames from memory
    preparing   RGB, resized, normalised
    current     encodes, behind what was prepared for it

Shapes: N frames, C, H, W pixels, P rows of planes (``extract.decode.planes``).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.decode.frames import SampledFrame
from extract.decode.planes import YuvMatrix
from extract.encode.encoders.base import Encoder
from extract.encode.gpu.clock import GpuClock
from extract.encode.gpu.fused_preprocess import fused_preprocess, kernels_of

__all__ = ["gpu_input"]

Image = NDArray[np.uint8]


def gpu_input(
    encoder: Encoder, frames: Sequence[SampledFrame], clock: GpuClock
) -> Iterator[Tensor]:
    """Yield the preprocessed pixels_CHW of each frame; frames of one size are worked on together.

    Args:
        encoder: Says what to do, and on which GPU.
        frames: In the order of the results. Where they lie may be written anew once all results
            of one size were taken.
        clock: Counts the work.
    """
    device, encoding = encoder.device, torch.cuda.current_stream(encoder.device)
    fetching, preparing = _streams(device)
    kernels_of(encoding.device)  # compiled now, or the clock would count that
    for matrix, images in _groups(frames):
        are_fetched = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(fetching):
            fetched = _fetched(images, device)
            are_fetched.record(fetching)
        preparing.wait_event(are_fetched)
        with torch.cuda.stream(preparing), clock.around(device):
            pixels_NCHW = fused_preprocess(fetched, matrix, encoder.preprocess)
        encoding.wait_stream(preparing)
        # Memory is not to be given to others while another stream than its own may read it.
        fetched.record_stream(preparing)
        pixels_NCHW.record_stream(encoding)
        try:
            yield from pixels_NCHW
        finally:
            are_fetched.synchronize()


def _groups(frames: Sequence[SampledFrame]) -> Iterator[tuple[YuvMatrix | None, list[Image]]]:
    """Yield consecutive images of one size and kind."""
    for (_, matrix), group in groupby(frames, key=lambda one: (one.pixels.shape, one.matrix)):
        yield matrix, [frame.pixels for frame in group]


def _fetched(images: Sequence[Image], device: torch.device) -> Tensor:
    """Return images on a GPU, which fetches them when it comes to it, from locked memory."""
    shape = (len(images), *images[0].shape)
    fetched = torch.empty(shape, dtype=torch.uint8, device=device)
    if not all(map(_is_locked, images)):
        copies = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        np.stack(images, out=copies.numpy())
        return fetched.copy_(copies, non_blocking=True)
    for place, image in zip(fetched, images, strict=True):
        place.copy_(torch.from_numpy(image), non_blocking=True)
    return fetched


def _is_locked(image: Image) -> bool:
    """Tell whether an image lies in memory that a GPU may read by itself."""
    # Torch takes no mirrored views, nor what is not for writing.
    flags = image.flags
    return flags.c_contiguous and flags.writeable and torch.from_numpy(image).is_pinned()


@lru_cache
def _streams(device: torch.device) -> tuple[torch.cuda.Stream, torch.cuda.Stream]:
    return torch.cuda.Stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
