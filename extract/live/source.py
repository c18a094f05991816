"""Where a live source comes from, and its frames with times, through PyAV (FFmpeg).

clip.mp4                        a file, read by the backend of the recipe, as stage 1 reads it
-                               standard input: Matroska, MPEG-TS or another format without seeks
rtsp://, http://, udp:// ...    an address that FFmpeg knows
/dev/video0                     a camera (Video4Linux)
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.video.frame import VideoFrame

from cache_schema.errors import SourceError, VideoError
from extract.decode.av_errors import av_reason
from extract.decode.backends import open_video
from extract.decode.frame_times import FrameTimes
from extract.decode.frames import MAX_GAP_SECONDS, Frame, FrameSource
from extract.decode.pyav_rgb import RgbConverter
from extract.decode.pyav_source import (
    average_fps,
    start_seconds,
    video_stream,
)
from extract.decode.upright import UprightFrames
from extract.decode.versions import pyav_version
from extract.live.counts import LiveCounts

__all__ = ["Address", "ClockJumpError", "LiveSource", "open_address", "without_password"]

SILENT_SECONDS = 10.0
"""A network source that sends nothing for so long is given up."""

BACK_SECONDS = 1.0
"""A frame so far behind an earlier one was not held up on its way: the clock was set back."""

PIPE_HINT = " A pipe needs a format that is read without seeks, such as mkv or ts."

CAMERA_FOLDER = "/dev/video"

_Instant = tuple[Fraction, VideoFrame]
"""A frame, and when it is shown, in seconds of the source's own clock."""


class ClockJumpError(VideoError):
    """The next frame's time has nothing to do with the last one's; the source can be read on."""


@dataclass(frozen=True, slots=True)
class Address:
    """What was typed, and what it means."""

    text: str

    @property
    def is_pipe(self) -> bool:
        """Whether it is standard input."""
        return self.text == "-"

    @property
    def is_camera(self) -> bool:
        """Whether it is a device of this machine."""
        return self.text.startswith(CAMERA_FOLDER)

    @property
    def is_network(self) -> bool:
        """Whether it is an address for FFmpeg."""
        return "://" in self.text

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which stage 1 could read."""
        return not (self.is_pipe or self.is_camera or self.is_network)

    @property
    def waits_for_nobody(self) -> bool:
        """Whether frames that are not taken in time are lost."""
        return self.is_network or self.is_camera


def without_password(address: str) -> str:
    """Return an address without what may be secret, for answers and messages that are passed on.

    Name and password reach to the last @ before the path, as FFmpeg has it. What stands behind a
    question mark or # may be a token.

    >>> without_password("rtsp://me:secret@camera/1")
    'rtsp://camera/1'
    """
    named = re.sub(r"://[^/?#]*@", "://", address)
    scheme, is_address, rest = named.partition("://")
    return scheme + is_address + re.split(r"[?#]", rest, maxsplit=1)[0] if is_address else address


def open_address(address: Address, backend: str, counts: LiveCounts) -> FrameSource:
    """Open a source.

    Args:
        address: Which.
        backend: Decoder of files; everything else is read by PyAV.
        counts: Gets frames that cannot be used.

    Raises:
        SourceError: if there is no such file.
        VideoError: if it cannot be opened, or holds no video.
    """
    if not address.is_file:
        return LiveSource(address, counts)
    path = Path(address.text)
    if not path.exists():
        raise SourceError(
            f"{path}: no such file. A live source is a file, - for standard input, an address "
            "such as rtsp://host/path, or a camera such as /dev/video0."
        )
    return open_video(path, backend)


class LiveSource:
    """A source that may have begun long ago and lose frames on its way.

    What a file would be refused for is counted here: damaged frames, and frames that come behind a
    later one. Where its clock jumps, as that of a camera that was switched off and on, it is gone
    through again from there.
    """

    def __init__(self, address: Address, counts: LiveCounts) -> None:
        self._address = address
        self._counts = counts
        self._container = _open(address)
        self._stream = video_stream(self._container)
        self._stream.thread_type = "SLICE"  # threads by frame would hold frames back
        self._zero = start_seconds(self._container, self._stream) if address.is_pipe else None
        self._converter = RgbConverter()
        self._uprights = UprightFrames()
        self._last_duration = Fraction(0)
        self._most_ahead = SILENT_SECONDS if address.waits_for_nobody else MAX_GAP_SECONDS
        self._held: list[_Instant] = []
        self._frames = self._usable()
        self.has_end = self._container.duration is not None
        """Whether it is a whole video, such as a file on a web server."""
        self.decoder = pyav_version()
        self.fps = average_fps(self._stream)
        self._times = FrameTimes(self._container, self.fps)
        self.size = (self._stream.height, self._stream.width)

    def __iter__(self) -> Iterator[tuple[Fraction, Callable[[], Frame]]]:
        """See ``FrameSource``; a network source's time starts with its first frame.

        Raises:
            ClockJumpError: where its clock jumps; the next iteration begins there, at 0.
        """
        last = None
        for now, frame in chain(self._held, self._frames):
            if self._zero is None:
                self._zero = now
            seconds = now - self._zero
            if last is not None and not -BACK_SECONDS < seconds - last < self._most_ahead:
                self._held, self._zero = [(now, frame)], None
                raise ClockJumpError(f"has a clock that jumped by {float(seconds - last):+.1f} s.")
            if last is not None and seconds <= last:
                self._counts.damaged_frames += 1
                continue
            last = seconds
            self._last_duration = (frame.duration or 0) * (frame.time_base or Fraction(0))
            yield seconds, self._converter(frame, self._uprights.of(frame))

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """See ``FrameSource``."""
        return last_seconds + (self._last_duration or 1 / self.fps)

    def _usable(self) -> Iterator[_Instant]:
        with self._container:
            for frame in self._decode():
                seconds = self._times.of(frame)  # of damaged ones, too: those of AVI are counted
                if seconds is None or frame.is_corrupt:
                    self._counts.damaged_frames += 1
                else:
                    yield seconds, frame

    def _decode(self) -> Iterator[VideoFrame]:
        try:
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self._counts.damaged_frames += 1
        except (av.FFmpegError, OSError) as error:
            hint = PIPE_HINT if self._address.is_pipe else ""
            raise VideoError(f"broke off: {av_reason(error)}.{hint}") from error


def _open(address: Address) -> av.container.InputContainer:
    place, format_name, options = address.text, None, {}
    if address.is_pipe:
        place = "pipe:0"
    elif address.is_camera:
        format_name = "v4l2"
    elif place.startswith("rtsp"):
        options = {"rtsp_transport": "tcp"}  # over UDP lost packets damage pictures
    timeout = SILENT_SECONDS if address.is_network else None
    try:
        return av.open(
            place,
            mode="r",
            format=format_name,
            options=options,
            timeout=timeout,
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        hint = PIPE_HINT if address.is_pipe else ""
        raise VideoError(f"cannot be opened as a video: {av_reason(error)}.{hint}") from error
