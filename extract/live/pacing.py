"""A source's frames beside the clock: held back until their time, or counted if they are late."""

import threading
import time
from collections.abc import Iterator
from fractions import Fraction

from extract.decode.frames import Convert, FrameSource
from extract.live.counts import LiveCounts

__all__ = ["PacedSource"]


class PacedSource:
    """A ``FrameSource`` whose clock starts with its first frame."""

    def __init__(
        self,
        source: FrameSource,
        counts: LiveCounts,
        *,
        holds_back: bool,
        late_seconds: float,
        stopped: threading.Event,
    ) -> None:
        """Wrap a source.

        Args:
            source: Any.
            counts: Gets the frames that are late.
            holds_back: Whether a frame waits for its time, as a camera's would have.
            late_seconds: What counts as late.
            stopped: Ends a wait.
        """
        self._source = source
        self._counts = counts
        self._holds_back = holds_back
        self._late_seconds = late_seconds
        self._stopped = stopped
        self.decoder = source.decoder
        self.fps = source.fps
        self.size = source.size

    def __iter__(self) -> Iterator[tuple[Fraction, Convert]]:
        """See ``FrameSource``."""
        started = None
        for seconds, convert in self._source:
            now = time.monotonic()
            started = now - float(seconds) if started is None else started
            late = now - started - float(seconds)
            if late > self._late_seconds:
                self._counts.late_frames += 1
            elif late < 0 and self._holds_back:
                self._stopped.wait(-late)
            yield seconds, convert

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """See ``FrameSource``."""
        return self._source.end_seconds(last_seconds)
