"""Frames as videos store them, YUV 4:2:0, and the whole numbers by which they become RGB.

For every pixel there is a luma sample Y, for two by two of them a pair of colour samples U and V.
Converting a frame costs a CPU a third to three quarters of what decoding it does, and doubles its
bytes; a GPU does it in next to no time. What FFmpeg does on a CPU is arithmetic of 16-bit numbers
(``yuv_2_rgb.asm`` in its libswscale), so that the same levels come out, bit for bit
(``extract.decode.pyav_planes`` sees to it: FFmpeg's arithmetic depends on the processor).

Shapes: H, W height and width, both even; P = H * 3 / 2 rows: H of luma, then U and V, half as high
and half as wide, one row of each in half a row.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Planes", "YuvMatrix", "rgb_of_planes"]


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


def rgb_of_planes(pixels_PW: NDArray[np.uint8], matrix: YuvMatrix) -> NDArray[np.uint8]:
    """Return the same frame as RGB, uint8 (H, W, 3); GPUs have ``levels_of_planes`` for it."""
    rows, width = pixels_PW.shape
    height = rows * 2 // 3
    samples = pixels_PW.astype(np.int32) * 8
    # A pair of colour samples beside the two by two of luma that it belongs to.
    luma = samples[:height].reshape(height // 2, 2, width // 2, 2)
    u, v = samples[height:].reshape(2, height // 2, 1, width // 2, 1) - 8 * 128
    grey = (luma - matrix.black) * matrix.luma >> 16
    red = grey + (v * matrix.red_v >> 16)
    green = grey + ((u * matrix.green_u >> 16) + (v * matrix.green_v >> 16))
    blue = grey + (u * matrix.blue_u >> 16)
    levels = np.stack([red, green, blue], axis=-1).reshape(height, width, 3)
    return levels.clip(0, 255).astype(np.uint8)
