"""Video time: from presentation timestamps to sampled frames.

Time zero is the container's start. Tick k lies at k / fps seconds; the frame of a tick is the
last one shown at or before it (the first frame for ticks before it). Ticks run while they are
before the end of the video, so no tail is lost.

Decoding processes import this module, and each of them starts anew: it needs the standard library
alone.
"""

from fractions import Fraction

__all__ = ["FrameSampler"]


class FrameSampler:
    """Decide, frame by frame in presentation order, for how many ticks each frame is shown.

    Feed every timestamp to ``shown``: it answers for the frame *before* the new one, which can
    then be converted or dropped. ``finish`` answers for the last frame.
    """

    def __init__(self, fps: Fraction | None) -> None:
        self._fps = fps
        self._tick = 0
        self._has_frame = False

    def shown(self, seconds: Fraction) -> int:
        """Return how many ticks the previous frame covers, given the next frame's time."""
        if self._fps is None:
            count, self._has_frame = int(self._has_frame), True
            return count
        if not self._has_frame:
            self._has_frame = True
            return 0
        return self._advance(seconds)

    def finish(self, end_seconds: Fraction) -> int:
        """Return how many ticks the last frame covers; one at least if no tick fell before."""
        if not self._has_frame:
            return 0
        if self._fps is None:
            return 1
        count = self._advance(end_seconds)
        return max(count, 1) if self._tick == count else count

    def _advance(self, seconds: Fraction) -> int:
        """Pass every tick before ``seconds``: tick / fps < seconds."""
        assert self._fps is not None
        # In whole numbers: of what is done for each frame of a video, fractions took the most.
        parts = seconds.denominator * self._fps.denominator
        ticks_of_parts = seconds.numerator * self._fps.numerator
        if ticks_of_parts <= self._tick * parts:
            return 0
        upto = -(-ticks_of_parts // parts)
        count, self._tick = upto - self._tick, upto
        return count
