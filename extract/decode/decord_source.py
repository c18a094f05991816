"""The decord backend, used only where it is right and its memory is bounded.

decord decodes ahead of its reader without limit, returns wrong frames after a seek on open GOPs,
and misreads trimmed files, transport streams, AVI and rotation. So it is read forward only, and
only where the container and codec are ones it reads right, the packets' own timestamps (demuxed
by PyAV, nothing decoded) agree with what decord claims, and all its frames together stay below
``MAX_BYTES``. PyAV reads every other video, and the rest of one in which decord gives up, gives
frames of another shape (widths of 16, 24 or 48) or paints over damage, which it tells nobody.
"""

import atexit
import ctypes
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from extract.decode.frames import Frame
from extract.decode.pyav_source import (
    PyavSource,
    average_fps,
    open_container,
    start_seconds,
)
from extract.decode.upright import upright_of
from extract.decode.versions import decord_version

__all__ = ["DecordSource", "trusted_decord_source"]

MAX_BYTES = 512 * 2**20
"""decord may hold every frame of the video at once; more than this is not risked."""

TIME_TOLERANCE_SECONDS = 1e-3

AV_LOG_ERROR = 16
"""FFmpeg's log level of errors; lower is worse."""

CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
CODECS = ("h264", "hevc", "vp8", "vp9")
"""Decoding these is exact by their standards; MPEG-4 and older differ from library to library."""

PIXEL_FORMATS = ("yuv420p", "yuvj420p", "yuv444p")
"""decord converts 10-bit colour to other pixels than current FFmpeg, and odd sizes of these too."""


def trusted_decord_source(path: Path) -> "DecordSource | None":
    """Return decord's view of a video, or None where PyAV must read it."""
    import decord

    try:
        table = _PacketTable(path)
        if not table.is_trusted:
            return None
        complaints = len(_complaints())  # before the reader, which decodes ahead
        reader = decord.VideoReader(str(path), num_threads=1)
    except (decord.DECORDError, av.FFmpegError, OSError, IndexError):
        return None
    if len(reader) != len(table.seconds):
        return None
    claimed = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    offset = np.abs((claimed - claimed[0]) - (table.float_seconds - table.float_seconds[0]))
    if offset.max() > TIME_TOLERANCE_SECONDS:
        return None
    return DecordSource(path, reader, table, complaints)


class _PacketTable:
    """Times of all frames as the packets give them, without decoding."""

    def __init__(self, path: Path) -> None:
        with open_container(path) as container:
            stream = container.streams.video[0]
            zero = start_seconds(container, stream)
            self.fps = average_fps(stream)
            self.size = (stream.height, stream.width)
            packets = self._plain_packets(container, stream) if _is_known(container, stream) else {}
            base = Fraction(stream.time_base or 1)
            ordered = sorted(packets)
            self.seconds = [pts * base - zero for pts in ordered]
            last_duration = packets[ordered[-1]] * base if packets else Fraction(0)
            # The last shown packet's and not the last packet's: as the decoded frame has it.
            self.last_duration = last_duration or 1 / self.fps
        self.is_trusted = bool(packets) and _is_upright(path)

    def _plain_packets(
        self, container: av.container.InputContainer, stream: VideoStream
    ) -> dict[int, int]:
        """Return the packets' pts and durations; nothing if one packet is not plain.

        Reads no further than decord may: a long video's table would grow with its length.
        """
        most = MAX_BYTES // max(1, self.size[0] * self.size[1] * 3)
        packets: dict[int, int] = {}
        for packet in container.demux(stream):
            if not packet.size:
                continue
            pts = packet.pts
            is_bad = packet.is_discard or packet.is_corrupt
            # Two packets of one time: one is not shown (VP9), but decord shows it.
            if pts is None or pts in packets or is_bad or len(packets) == most:
                return {}
            packets[pts] = packet.duration or 0
        return packets

    @property
    def float_seconds(self) -> NDArray[np.float64]:
        return np.array([float(second) for second in self.seconds])


def _is_known(container: av.container.InputContainer, stream: VideoStream) -> bool:
    """Tell whether decord decodes this kind of file to the same pixels as PyAV."""
    codec = stream.codec_context
    return (
        container.format.name in CONTAINERS
        and codec.name in CODECS
        and codec.pix_fmt in PIXEL_FORMATS
        and codec.width % 2 == codec.height % 2 == 0
    )


def _is_upright(path: Path) -> bool:
    """Tell whether the first frame is shown as it is: only a decoded frame tells it."""
    with open_container(path) as container:
        return not any(any(upright_of(frame)) for frame in islice(container.decode(video=0), 1))


class DecordSource:
    """Forward reading with decord, timed by the packets."""

    def __init__(
        self,
        path: Path,
        reader: Any,  # noqa: ANN401
        table: _PacketTable,
        num_complaints: int,
    ) -> None:
        self._path = path
        self._reader = reader
        self._table = table
        self._num_complaints = num_complaints
        self._rest: PyavSource | None = None
        self.decoder = decord_version()
        self.fps = table.fps
        self.size = table.size

    def __iter__(self) -> Iterator[tuple[Fraction, Callable[[], Frame]]]:
        """See ``extract.decode.frames.FrameSource``."""
        for number, seconds in enumerate(self._table.seconds):
            frame = self._next()
            if frame is None:
                self._reader = None  # and all it has decoded ahead
                self._rest = PyavSource(self._path)
                self.decoder = f"{self.decoder}, {self._rest.decoder}"
                yield from islice(self._rest, number, None)
                return
            yield seconds, frame.asnumpy

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """See ``extract.decode.frames.FrameSource``."""
        if self._rest is not None:
            return self._rest.end_seconds(last_seconds)
        return last_seconds + self._table.last_duration

    def _next(self) -> Any:  # noqa: ANN401
        """Return the next frame, or None from where decord cannot be believed."""
        import decord

        try:
            frame = self._reader.next()
        except decord.DECORDError:
            return None
        # It decodes ahead, so damage is reported before the damaged frame comes.
        is_damaged = len(_complaints()) > self._num_complaints
        return None if is_damaged or frame.shape != (*self.size, 3) else frame


@cache
def _complaints() -> list[int]:
    """Return the list that gets the level of every complaint of decord's own FFmpeg from now on.

    Its log is the only place where it tells of damage; decord offers no way to read it.
    """
    from decord._ffi.base import _LIB as LIB

    levels: list[int] = []

    def note(_context: int, level: int, text: bytes | None, _arguments: int) -> None:
        if level <= AV_LOG_ERROR or (text or b"").startswith(b"concealing"):
            levels.append(level)

    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
    )
    callback = signature(note)
    LIB.av_log_set_callback(callback)
    # Holds the callback as long as FFmpeg may call it; its threads must not when Python ends.
    atexit.register(_restore_log, LIB, callback)
    return levels


def _restore_log(lib: Any, _callback: object) -> None:  # noqa: ANN401
    lib.av_log_set_callback(lib.av_log_default_callback)
