"""Decoded frames on the CPU -> one encoder's network input on its device.

Shapes: N frames, C, H, W pixels, P rows of planes (``extract.decode.planes``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.decode.frames import SampledFrame
from extract.decode.planes import YuvMatrix, rgb_levels
from extract.encode.encoders.base import Encoder
from extract.encode.gpu_clock import GpuClock
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
        yield from _on_device(encoder, frames, clock or GpuClock())
        return

    def one(frame: SampledFrame) -> Tensor:
        # Frames of others may be mirrored views, or not for writing: torch takes neither.
        pixels = torch.from_numpy(np.require(frame.pixels, requirements=["C", "W"]))
        rgb_1HWC = _rgb(pixels[None], frame.matrix)
        return preprocess_frames(rgb_1HWC.contiguous(), encoder.preprocess)[0]

    for start in range(0, len(frames), AT_ONCE):
        yield from run(one, frames[start : start + AT_ONCE])


def _on_device(
    encoder: Encoder, frames: Sequence[SampledFrame], clock: GpuClock
) -> Iterator[Tensor]:
    for (_, matrix), group in groupby(frames, key=lambda frame: (frame.pixels.shape, frame.matrix)):
        pixels = _copied([frame.pixels for frame in group], encoder.device)
        with clock.around(encoder.device):
            pixels_NCHW = preprocess_frames(_rgb(pixels, matrix), encoder.preprocess)
        yield from pixels_NCHW


def _copied(images: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Return images of one size on a device; a GPU fetches them while it encodes others."""
    is_pinned = device.type == "cuda"
    shape = (len(images), *images[0].shape)
    pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=is_pinned)
    np.stack(images, out=pixels.numpy())
    if not is_pinned:
        return pixels.to(device)
    encoding, copies = torch.cuda.current_stream(device), _stream_of_copies(device)
    with torch.cuda.stream(copies):
        copied = pixels.to(device, non_blocking=True)
    encoding.wait_stream(copies)
    # Its memory is not to be written anew while the encoder's stream may read it.
    copied.record_stream(encoding)
    return copied


@lru_cache
def _stream_of_copies(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _rgb(pixels: Tensor, matrix: YuvMatrix | None) -> Tensor:
    """Return RGB frames (N, H, W, 3); those with a matrix are planes (N, P, W)."""
    if matrix is None:
        return pixels
    levels_NCHW = torch.stack(rgb_levels(pixels.int(), matrix), dim=1)
    return levels_NCHW.to(torch.uint8).permute(0, 2, 3, 1)
