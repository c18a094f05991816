"""Frames in memory as ticks: for programs that have a camera or a decoder of their own."""

import math
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from textwrap import shorten

from cache_schema.errors import VideoError
from cache_schema.frame_sampler import FrameSampler
from extract.decode.frames import MAX_GAP_SECONDS, Frame, checked_frame
from extract.live.capture import End, Tick

__all__ = ["Shown", "ticks_of"]

Shown = Frame | tuple[float, Frame]
"""The frame of the next tick; or a second of the stream, and the frame shown from then on."""

_Timed = tuple[Fraction, Frame]


def ticks_of(frames: Iterable[Shown], fps: Fraction) -> Iterator[Tick | End]:
    """Yield ticks while frames are given, and at last the end.

    A frame without a time is that of the next tick. Of frames with times, a tick gets the last one
    that is shown at or before it, as in a file; that is known when the next frame is there. Seconds
    count from the stream's start, and the first frame is shown from there on, as in a file, too.

    Whoever gives frames may write the next one to where the last one lies: a frame with a time is
    copied, and one without is the next tick's before another is asked for. Ticks of one shown frame
    have the same array object, and no others have it.

    Args:
        frames: Of one kind or the other.
        fps: Ticks a second.

    Raises:
        VideoError: if something is no frame, a time is no number, times do not increase, or there
            is more than an hour from one to the next, or from second 0 to the first.
    """
    ticks = _Ticks()
    sampler = FrameSampler(fps)
    last: _Timed | None = None
    for shown in frames:
        if not isinstance(shown, tuple):
            yield from ticks.of(checked_frame(shown).view(), 1)
            continue
        now, rgb = _timed(shown, last)
        count = sampler.shown(now)
        if last is not None:
            yield from ticks.of(last[1], count)
        last = (now, rgb)
    end = ticks.number / fps
    if last is not None:
        end = last[0] + 1 / fps  # nobody says how long the last frame is shown
        yield from ticks.of(last[1], sampler.finish(end))
    yield End(float(end))


def _timed(pair: tuple[float, Frame], last: _Timed | None) -> _Timed:
    """Return the next frame with its time, in memory of its own."""
    if len(pair) != 2:
        raise VideoError(f"a tuple of {len(pair)} is no frame, expected a pair (second, frame).")
    now, rgb = _exact_seconds(pair[0]), checked_frame(pair[1])
    if last is not None and now <= last[0]:
        raise VideoError(
            f"a frame at {float(now):.3f} s follows one at {float(last[0]):.3f} s; times must "
            "increase."
        )
    _refuse_gap(now, None if last is None else last[0])
    return now, rgb.copy()


def _exact_seconds(second: float) -> Fraction:
    if isinstance(second, int | Fraction):
        return Fraction(second)
    try:
        number = float(second)  # of NumPy's numbers, too
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise VideoError(
            f"a frame's time is {shorten(repr(second), 50)}, expected seconds from the stream's "
            "start. Leave the frame out, or give frames without times."
        )
    return Fraction(number)


def _refuse_gap(now: Fraction, last: Fraction | None) -> None:
    """Raise for a gap that no video has; it would be filled with rows of one frame."""
    if abs(now - (last or 0)) <= MAX_GAP_SECONDS:
        return
    if last is None:
        raise VideoError(
            f"the first frame is at {float(now):.3f} s, more than {MAX_GAP_SECONDS} s from 0. "
            "Seconds count from the stream's start: where they are a clock's, such as "
            "time.monotonic(), subtract the first."
        )
    raise VideoError(
        f"a frame at {float(now):.3f} s follows one at {float(last):.3f} s, more than "
        f"{MAX_GAP_SECONDS} s later. Seconds count from the stream's start: give all by one clock, "
        "or begin another stream behind the gap."
    )


class _Ticks:
    """Numbers ticks."""

    def __init__(self) -> None:
        self.number = 0

    def of(self, rgb: Frame, count: int) -> Iterator[Tick]:
        """Yield the next ticks, all of one frame."""
        for _ in range(count):
            yield Tick(self.number, rgb, time.monotonic(), 0, 0.0)
            self.number += 1
