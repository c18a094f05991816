"""RGB of PyAV's frames, by FFmpeg's converter."""

from collections.abc import Callable

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from extract.decode.frames import Frame
from extract.decode.upright import Upright

__all__ = ["RgbConverter"]


class RgbConverter:
    """Converts the frames of one video.

    Left to itself each frame has a converter made for it, with a thread for every core: several
    times the work of converting a small frame.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame, upright: Upright) -> Callable[[], Frame]:
        """Return a function that converts one frame, so that skipped frames cost nothing."""
        return lambda: self._convert(frame, upright)

    def _convert(self, frame: VideoFrame, upright: Upright) -> Frame:
        converted = self._reformatter.reformat(frame, format="rgb24", threads=1)
        rgb = converted.to_ndarray().astype(np.uint8, copy=False)
        return upright.image(rgb)
