"""Planes of PyAV's frames, wherever they become the RGB that FFmpeg makes of them."""

from collections.abc import Callable
from functools import cache

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from extract.decode.frames import NewPixels, RunCopy
from extract.decode.planes import Planes, YuvMatrix, rgb_of_planes
from extract.decode.upright import Upright

__all__ = ["planes_of"]

FORMATS = ("yuv420p", "yuvj420p")

BT_601 = (0.299, 0.114)
RED_AND_BLUE = {1: (0.2126, 0.0722), 2: BT_601, 5: BT_601, 6: BT_601}
"""Code of ITU-T H.273 -> shares of red and blue in luma. 1 is BT.709; 2 says nothing, and FFmpeg
takes BT.601."""


def planes_of(
    frame: VideoFrame, upright: Upright, new: NewPixels, run: RunCopy
) -> Callable[[], Planes] | None:
    """Return a function that copies a frame's planes; None where they are not 4:2:0 of 8 bits.

    Nor where a frame is turned, mirrored or upside down, where lines are interlaced, which pairs
    them otherwise, or where FFmpeg converts by other numbers.

    Args:
        frame: A decoded one.
        upright: How it becomes so.
        new: Where to copy them to.
        run: Makes the copy.
    """
    is_even = frame.width % 2 == frame.height % 2 == 0
    if frame.format.name not in FORMATS or not is_even or frame.interlaced_frame:
        return None
    if any(upright) or any(plane.line_size < 0 for plane in frame.planes):
        return None
    matrix = _matrix_of(frame.format.name, frame.colorspace, frame.color_range)
    if matrix is None:
        return None
    return lambda: Planes(_copied(frame, new, run), matrix)


def _copied(frame: VideoFrame, new: NewPixels, run: RunCopy) -> NDArray[np.uint8]:
    """Return memory for the planes, and have them copied there."""
    pixels_PW = new((frame.height * 3 // 2, frame.width))
    run(lambda: _copy(frame, pixels_PW), pixels_PW.nbytes)
    return pixels_PW


def _copy(frame: VideoFrame, pixels_PW: NDArray[np.uint8]) -> None:
    """Copy the planes without what pads their lines."""
    pixels, end = pixels_PW.reshape(-1), 0
    for plane in frame.planes:
        height, width = plane.height, plane.width
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)
        start, end = end, end + height * width
        pixels[start:end].reshape(height, width)[:] = lines[:, :width]


@cache
def _matrix_of(name: str, colorspace: int, color_range: int) -> YuvMatrix | None:
    """Return the numbers that FFmpeg converts such frames by, None if they are others."""
    if colorspace not in RED_AND_BLUE:
        return None
    is_full = name == "yuvj420p" or color_range == ColorRange.JPEG
    matrix = _matrix(*RED_AND_BLUE[colorspace], is_full=is_full)
    samples_PW = np.random.default_rng(0).integers(0, 256, (384, 256), np.uint8)
    frame = VideoFrame.from_ndarray(samples_PW, format=name)
    frame.colorspace, frame.color_range = colorspace, color_range
    rgb = rgb_of_planes(samples_PW, matrix)
    return matrix if np.array_equal(rgb, frame.to_ndarray(format="rgb24")) else None


def _matrix(red: float, blue: float, *, is_full: bool) -> YuvMatrix:
    """Return FFmpeg's factors (``ff_yuv2rgb_c_init_tables``): 13 bits, of which samples have 3."""
    green = 1 - red - blue
    # FFmpeg's tables are of the limited range, where colours have 224 steps.
    steps = 224 if is_full else 255
    red_v, green_u, green_v, blue_u = (
        round(share * 2**17 * 255 / 224) * steps // 255
        for share in (1 - red, blue * (1 - blue) / green, red * (1 - red) / green, 1 - blue)
    )
    luma = 2**16 if is_full else 2**16 * 255 // 219
    factors = (luma, red_v, -green_u, -green_v, blue_u)
    return YuvMatrix(0 if is_full else 8 * 16, *((one * 2**13 + 2**15) >> 16 for one in factors))
