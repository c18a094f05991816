"""Frames as videos store them, YUV 4:2:0, and the whole numbers by which they become RGB.

For every pixel there is a luma sample Y, for two by two of them a pair of colour samples U and V.
Converting a frame costs a CPU a third to three quarters of what decoding it does, and doubles its
bytes; a GPU does it in next to no time. What FFmpeg does on a CPU is arithmetic of 16-bit numbers
(``yuv_2_rgb.asm`` in its libswscale), so that the same levels come out, bit for bit
(``extract.decode.pyav_planes`` sees to it: FFmpeg's arithmetic depends on the processor).

Shapes: H, W height and width, both even; P = H * 3 / 2 rows: H of luma, then U and V, half as high
and half as wide, one row of each in half a row.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Planes", "YuvMatrix", "rgb_levels"]

Whole = TypeVar("Whole", NDArray[Any], "Tensor")


class YuvMatrix(NamedTuple):
    """A level is ``(8 * sample - offset) * factor >> 16``, for colours summed over samples."""

    black: int
    """Offset of luma; that of U and V is 8 * 128."""
    luma: int
    red_v: int
    green_u: int
    green_v: int
    blue_u: int


class Planes(NamedTuple):
    """One frame."""

    pixels_PW: NDArray[np.uint8]
    matrix: YuvMatrix


def rgb_levels(pixels_PW: Whole, matrix: YuvMatrix) -> tuple[Whole, Whole, Whole]:
    """Return the red, green and blue levels (..., H, W), 0 to 255.

    Args:
        pixels_PW: int32 (..., P, W), by NumPy or torch.
        matrix: Of the frames.
    """
    *others, rows, width = pixels_PW.shape
    height = rows * 2 // 3
    # A pair of colour samples beside the two by two of luma that it belongs to.
    luma = pixels_PW[..., :height, :].reshape(*others, height // 2, 2, width // 2, 2)
    colours = pixels_PW[..., height:, :].reshape(*others, 2, height // 2, 1, width // 2, 1)
    u, v = (colours[..., number, :, :, :, :] * 8 - 8 * 128 for number in (0, 1))
    grey = (luma * 8 - matrix.black) * matrix.luma >> 16
    red = grey + (v * matrix.red_v >> 16)
    green = grey + ((u * matrix.green_u >> 16) + (v * matrix.green_v >> 16))
    blue = grey + (u * matrix.blue_u >> 16)
    red, green, blue = (
        level.clip(0, 255).reshape(*others, height, width) for level in (red, green, blue)
    )
    return red, green, blue
