"""A thread that takes the ticks of a live source, and connects again where that is lost.

Frames of a file or a pipe wait until they are taken. Frames of a camera or a network source do not
wait for the machine: at most one window of ticks is kept, and the oldest goes first.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from cache_schema.errors import VideoError
from extract.decode.frames import Frame, FrameSource, VideoFacts, sample_frames
from extract.live.counts import LiveCounts
from extract.live.mailbox import Mailbox
from extract.live.pacing import PacedSource
from extract.live.source import ClockJumpError, LiveSource

__all__ = ["Capture", "End", "Tick"]

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
"""Between two attempts to connect; the wait doubles with each."""

JOIN_SECONDS = 1.0
"""How long the thread's end is waited for: it may be inside FFmpeg, waiting for the network."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """A frame of a tick."""

    number: int
    """From the start of the connection."""
    rgb: Frame
    arrived: float
    """``time.monotonic()`` when it was known that this frame is the tick's."""
    connection: int
    """From 0; where the source's clock jumps, the next begins."""
    offset: float
    """Second of the stream at which the connection's time starts."""


@dataclass(frozen=True, slots=True)
class End:
    """No tick comes any more."""

    end_seconds: float | None
    """Of the last connection's video; None where it broke off."""
    error: Exception | None = None
    """Why not, if the source did not just end."""


class Capture:
    """The ticks of a source, from another thread. A context manager and an iterable."""

    def __init__(
        self,
        connect: Callable[[], FrameSource],
        fps: Fraction,
        counts: LiveCounts,
        *,
        most_ticks: int,
        waits_for_nobody: bool,
        is_paced: bool,
        reconnects: bool,
    ) -> None:
        """Prepare to capture.

        Args:
            connect: Opens the source.
            fps: Ticks a second.
            counts: Gets what goes wrong.
            most_ticks: How many are kept.
            waits_for_nobody: Whether the oldest tick is dropped where there are more.
            is_paced: Whether frames are held back until their time.
            reconnects: Whether a source that has no end is opened again when it breaks off.
        """
        self._connect = connect
        self._fps = fps
        self._counts = counts
        self._waits_for_nobody = waits_for_nobody
        self._is_paced = is_paced
        self._reconnects = reconnects
        self._mailbox: Mailbox[Tick | End] = Mailbox(most_ticks, drops_oldest=waits_for_nobody)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._started = 0.0
        self._reached = 0.0
        """Second of the stream at which the ticks so far end."""

    def __enter__(self) -> "Capture":
        self._first = self._connect()  # here, so that what cannot be opened is said at once
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(JOIN_SECONDS)

    def end(self) -> None:
        """Take no further tick: the end comes next."""
        self._stopped.set()
        self._mailbox.close(End(None))

    def __iter__(self) -> Iterator[Tick | End]:
        """Yield ticks, and at last the end."""
        while True:
            thing = self._mailbox.get()
            yield thing
            if isinstance(thing, End):
                return

    def _run(self) -> None:
        try:
            end = End(self._all_connections())
        except Exception as error:  # whoever iterates must not wait for ever
            end = End(None, error)
        self._mailbox.finish(end)

    def _all_connections(self) -> float | None:
        source, connection = self._first, 0
        while True:
            try:
                end = self._one_connection(source, connection)
                if not self._begins_again(source):
                    return end
                logger.warning("the source ended; connecting again")
                again = self._connect_again()
            except ClockJumpError as error:
                logger.warning("the source %s Beginning anew.", error)
                again = source
            except VideoError as error:
                if not self._begins_again(source):
                    raise
                logger.warning("the source %s Connecting again.", error)
                again = self._connect_again()
            if again is None:
                return None
            source, connection = again, connection + 1
            self._counts.reconnects = connection

    def _begins_again(self, source: FrameSource) -> bool:
        has_end = isinstance(source, LiveSource) and source.has_end
        return self._reconnects and not has_end and not self._stopped.is_set()

    def _connect_again(self) -> FrameSource | None:
        """Return the source once it can be opened, None if nobody wants it any more."""
        wait = FIRST_WAIT_SECONDS
        while not self._stopped.wait(wait):
            try:
                return self._connect()
            except VideoError as error:
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                logger.warning("the source %s Next attempt in %.0f s.", error, wait)
        return None

    def _one_connection(self, source: FrameSource, connection: int) -> float | None:
        """Leave a connection's ticks in the mailbox; return its end, None if nobody wants it."""
        paced = self._paced(source)
        facts: list[VideoFacts] = []
        number, offset = 0, None
        for frame in sample_frames(paced, self._fps, facts):
            now = time.monotonic()
            if offset is None:
                offset = self._offset(now) if connection else 0.0
            for _ in range(frame.num_ticks):
                if not self._mailbox.put(Tick(number, frame.pixels, now, connection, offset)):
                    return None
                number += 1
                self._reached = offset + float(number / self._fps)
        return (offset or 0.0) + facts[0].duration_seconds

    def _offset(self, now: float) -> float:
        """Return the second of the stream at which a later connection begins."""
        if not self._waits_for_nobody:
            return self._reached
        # A source may send what it has kept faster than it was filmed.
        return max(now - self._started, self._reached)

    def _paced(self, source: FrameSource) -> FrameSource:
        if not (self._is_paced or self._waits_for_nobody):
            return source
        return PacedSource(
            source,
            self._counts,
            holds_back=self._is_paced,
            late_seconds=float(1 / self._fps),
            stopped=self._stopped,
        )
