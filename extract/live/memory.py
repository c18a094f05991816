"""Frames in memory as ticks: for programs that have a camera or a decoder of their own."""

import time
from collections.abc import Iterable, Iterator
from fractions import Fraction

from cache_schema.errors import VideoError
from cache_schema.frame_sampler import FrameSampler
from extract.decode.frames import Frame, checked_frame
from extract.live.capture import End, Tick

__all__ = ["Shown", "ticks_of"]

Shown = Frame | tuple[float, Frame]
"""The frame of the next tick; or a second, and the frame that is shown from then on."""


def ticks_of(frames: Iterable[Shown], fps: Fraction) -> Iterator[Tick | End]:
    """Yield ticks while frames are given, and at last the end.

    A frame without a time is that of the next tick. Of frames with times, a tick gets the last one
    that is shown at or before it, as in a file; that is known when the next frame is there.

    Whoever gives frames may write the next one to where the last one lies: a frame with a time is
    copied, and one without is the next tick's before another is asked for. Ticks of one shown frame
    have the same array object, and no others have it.

    Args:
        frames: Of one kind or the other.
        fps: Ticks a second.

    Raises:
        VideoError: if something is no frame, or times do not increase.
    """
    ticks = _Ticks()
    sampler = FrameSampler(fps)
    last: tuple[Fraction, Frame] | None = None
    for shown in frames:
        if not isinstance(shown, tuple):
            yield from ticks.of(checked_frame(shown).view(), 1)
            continue
        now, rgb = Fraction(shown[0]), checked_frame(shown[1]).copy()
        if last is not None and now <= last[0]:
            raise VideoError(
                f"a frame at {float(now):.3f} s follows one at {float(last[0]):.3f} s; times must "
                "increase."
            )
        count = sampler.shown(now)
        if last is not None:
            yield from ticks.of(last[1], count)
        last = (now, rgb)
    end = ticks.number / fps
    if last is not None:
        end = last[0] + 1 / fps  # nobody says how long the last frame is shown
        yield from ticks.of(last[1], sampler.finish(end))
    yield End(float(end))


class _Ticks:
    """Numbers ticks."""

    def __init__(self) -> None:
        self.number = 0

    def of(self, rgb: Frame, count: int) -> Iterator[Tick]:
        """Yield the next ticks, all of one frame."""
        for _ in range(count):
            yield Tick(self.number, rgb, time.monotonic(), 0, 0.0)
            self.number += 1
