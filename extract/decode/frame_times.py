"""When a decoded frame is shown, by its container's clock."""

from fractions import Fraction

from av.container import InputContainer
from av.video.frame import VideoFrame

__all__ = ["FrameTimes"]


class FrameTimes:
    """Seconds of frames as they come.

    AVI keeps no presentation times, one frame follows the other. For codecs that reorder frames
    (H.264), FFmpeg guesses them and they come out of order, while its decoding times count the
    frames that come (``AVFrame.pkt_dts``) until the last few, which have none.
    """

    def __init__(self, container: InputContainer, fps: Fraction) -> None:
        self._counts_frames = container.format.name == "avi"
        self._step = 1 / fps
        self._last: Fraction | None = None

    def of(self, frame: VideoFrame) -> Fraction | None:
        """Return a frame's second; None if it has none."""
        stamp = frame.dts if self._counts_frames else frame.pts
        base = frame.time_base
        seconds = None if stamp is None or base is None else stamp * base
        if self._counts_frames:
            self._last = seconds = self._counted(seconds)
        return seconds

    def _counted(self, seconds: Fraction | None) -> Fraction:
        if self._last is None:
            return seconds or Fraction(0)
        if seconds is None:
            return self._last + self._step
        self._step = seconds - self._last  # what the header declares may be its clock's rate
        return seconds
