"""Resizing on a GPU with a CPU's whole numbers: the same levels, bit for bit.

On a CPU torch resizes uint8 frames with 16-bit integer weights, much as Pillow does, and rounds
after each axis. GPUs have no such kernel, but a resize along an axis is a product with a matrix of
weights, and products of matrices of whole numbers are exact on them: float16 holds every level
(0 to 255) and each half of a weight (its upper 9 and lower 7 bits), and the float32 sums stay
below 2**24. So nothing depends on the order of a sum, on the frames beside, or on the machine.
"""

# Shapes: C channels · N frames · H, W before · h, w after, of the part that is kept
# M lines of pixels · L pixels of a line · l pixels of a resized line

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.recipe import Interpolation

__all__ = ["LOW_BITS", "PartOfFrames", "integer_weights", "resize_to_levels"]

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
"""Half the width of each filter, in pixels of the smaller picture."""

MOST_PRECISION = 22
LOW_BITS = 7

ALIGNED = 8
"""Pixels that lines to be multiplied are a multiple of, where frames are wide enough."""

PartOfFrames = Callable[[slice, slice], Tensor]
"""Returns the levels of some rows and columns of frames, (C, N, H, W), any dtype."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """What a line of pixels is multiplied with: both halves of each weight, side by side."""

    source: slice
    """The pixels of a line that matter; those beside them are never looked at."""
    halves_L2l: Tensor
    precision: int
    """Bits behind the binary point of a weight."""


def resize_to_levels(
    part: PartOfFrames,
    frame_size: tuple[int, int],
    size: tuple[int, int],
    kept: tuple[slice, slice],
    mode: Interpolation,
    device: torch.device,
) -> Tensor:
    """Resize frames and cut out a part; nothing else of them is computed.

    Args:
        part: Of the frames.
        frame_size: Height and width of whole frames.
        size: Height and width of whole resized frames.
        kept: Rows and columns of these to return.
        mode: Of interpolation, with antialiasing, ``align_corners=False``.
        device: Where the frames lie.

    Returns:
        The same numbers as ``torch.nn.functional.interpolate`` gives for uint8 on a CPU, as
        float16 (C, N, h, w).
    """
    along, across = (
        _weights(before, after, one.start, one.stop, mode, device)
        for before, after, one in zip(frame_size, size, kept, strict=True)
    )
    levels_CNHW = part(along.source, across.source)
    levels_CNHw = _resize_lines(levels_CNHW.to(torch.float16), across)
    return _resize_lines(levels_CNHw.transpose(2, 3), along).transpose(2, 3)


def _resize_lines(levels: Tensor, weights: _Weights) -> Tensor:
    """Resize the last axis; the result is rounded, as float16."""
    lines_ML = levels.reshape(-1, levels.shape[-1])
    sums_M2l = _product(lines_ML, weights.halves_L2l).to(torch.int32)
    upper_Ml, lower_Ml = sums_M2l.chunk(2, dim=1)
    total_Ml = torch.add(lower_Ml, upper_Ml, alpha=1 << LOW_BITS)
    if weights.precision:
        total_Ml.add_(1 << (weights.precision - 1)).bitwise_right_shift_(weights.precision)
    return total_Ml.to(torch.float16).clamp_(0, 255).view(*levels.shape[:-1], -1)


def _product(lines_ML: Tensor, halves_L2l: Tensor) -> Tensor:
    """Multiply, and add up in float32."""
    if lines_ML.device.type == "cuda":
        return torch.mm(lines_ML, halves_L2l, out_dtype=torch.float32)
    return lines_ML.float() @ halves_L2l.float()


@lru_cache(maxsize=64)
def _weights(
    num_in: int, num_out: int, start: int, stop: int, mode: Interpolation, device: torch.device
) -> _Weights:
    weights_lL, precision = integer_weights(num_in, num_out, mode)
    kept_lL = weights_lL[start:stop]
    used = np.flatnonzero(kept_lL.any(axis=0))
    first = used[0] // ALIGNED * ALIGNED
    source = slice(int(first), min(num_in, int(used[-1]) // ALIGNED * ALIGNED + ALIGNED))
    kept_Ll = kept_lL[:, source].T
    halves_L2l = np.concatenate([kept_Ll >> LOW_BITS, kept_Ll & (1 << LOW_BITS) - 1], axis=1)
    tensor = torch.from_numpy(halves_L2l.astype(np.float32))
    return _Weights(source, tensor.to(device, torch.float16), precision)


def integer_weights(
    num_in: int, num_out: int, mode: Interpolation
) -> tuple[NDArray[np.int32], int]:
    """Return the (num_out, num_in) weights of a resize and the bits behind their point.

    The rule is that of torch for uint8 (``_compute_index_ranges_int16_weights`` in
    aten/src/ATen/native/cpu/UpSampleKernel.cpp), which is Pillow's with fewer bits: as many as let
    the largest weight stay below 2**15.
    """
    if num_in == num_out:  # torch leaves such an axis alone
        return np.eye(num_in, dtype=np.int32), 0
    weights_lL = _real_weights(num_in, num_out, mode)
    largest = weights_lL.max()
    precision = 0
    while precision < MOST_PRECISION and int(0.5 + largest * 2 ** (precision + 1)) < 1 << 15:
        precision += 1
    rounded = np.trunc(weights_lL * 2**precision + np.copysign(0.5, weights_lL))
    return rounded.astype(np.int32), precision


def _real_weights(num_in: int, num_out: int, mode: Interpolation) -> NDArray[np.float64]:
    scale = num_in / num_out
    widened = max(scale, 1.0)
    support = SUPPORT[mode] * widened
    centre_l1 = scale * (np.arange(num_out)[:, None] + 0.5)
    first_l1 = np.maximum(np.trunc(centre_l1 - support + 0.5), 0)
    last_l1 = np.minimum(np.trunc(centre_l1 + support + 0.5), num_in)
    pixel_1L = np.arange(num_in)[None]
    values_lL = _filter((pixel_1L - centre_l1 + 0.5) / widened, mode)
    values_lL = np.where((pixel_1L >= first_l1) & (pixel_1L < last_l1), values_lL, 0.0)
    normalised: NDArray[np.float64] = values_lL / values_lL.sum(axis=1, keepdims=True)
    return normalised


def _filter(x: NDArray[np.float64], mode: Interpolation) -> NDArray[np.float64]:
    """The triangle, or Keys' cubic with a = -0.5, as Pillow has them."""
    x = np.abs(x)
    if mode == "bilinear":
        return np.maximum(1 - x, 0.0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
