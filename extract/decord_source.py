"""The decord backend, used only where it is right and its memory is bounded.

decord decodes ahead of its reader without limit, returns wrong frames after a seek on open GOPs,
and misreads trimmed files, transport streams, AVI and rotation. So it is read forward only, and
only where the container and codec are ones it reads right, the packets' own timestamps (demuxed
by PyAV, nothing decoded) agree with what decord claims, and all its frames together stay below
``MAX_BYTES``. PyAV reads every other video, and the rest of one in which decord gives up.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from extract.decode import Frame, PyavSource, average_fps, start_seconds

__all__ = ["DecordSource", "decord_version", "trusted_decord_source"]

MAX_BYTES = 512 * 2**20
"""decord may hold every frame of the video at once; more than this is not risked."""

TIME_TOLERANCE_SECONDS = 1e-3

CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
CODECS = ("h264", "hevc", "vp8", "vp9")
"""Decoding these is exact by their standards; MPEG-4 and older differ from library to library."""


def decord_version() -> str:
    """Return the backend's name and version as recipes record it."""
    import decord

    return f"decord {decord.__version__}"


def trusted_decord_source(path: Path) -> "DecordSource | None":
    """Return decord's view of a video, or None where PyAV must read it."""
    import decord

    try:
        table = _PacketTable(path)
        if not table.is_trusted:
            return None
        reader = decord.VideoReader(str(path), num_threads=1)
    except (decord.DECORDError, av.FFmpegError, OSError, IndexError):
        return None
    if len(reader) != len(table.seconds):
        return None
    claimed = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    offset = np.abs((claimed - claimed[0]) - (table.float_seconds - table.float_seconds[0]))
    if offset.max() > TIME_TOLERANCE_SECONDS:
        return None
    return DecordSource(path, reader, table)


class _PacketTable:
    """Times of all frames as the packets give them, without decoding."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            zero = start_seconds(container, stream)
            self.fps = average_fps(stream)
            self.size = (stream.height, stream.width)
            packets = [packet for packet in container.demux(stream) if packet.size]
            pts = [packet.pts for packet in packets]
            is_known = container.format.name in CONTAINERS and stream.codec_context.name in CODECS
            self._is_plain = is_known and all(
                packet.pts is not None and not packet.is_discard and not packet.is_corrupt
                for packet in packets
            )
            base = Fraction(stream.time_base or 1)
            ordered = sorted(value for value in pts if value is not None)
            self.seconds = [value * base - zero for value in ordered]
            self.last_duration = Fraction(packets[-1].duration or 0) * base if packets else None
        self._rotation = _first_rotation(path)

    @property
    def is_trusted(self) -> bool:
        num_bytes = len(self.seconds) * self.size[0] * self.size[1] * 3
        return self._is_plain and self._rotation == 0 and 0 < num_bytes <= MAX_BYTES

    @property
    def float_seconds(self) -> NDArray[np.float64]:
        return np.array([float(second) for second in self.seconds])


def _first_rotation(path: Path) -> int:
    """Return the first frame's rotation in degrees: only a decoded frame tells it."""
    with av.open(str(path)) as container:
        return next((frame.rotation for frame in container.decode(video=0)), 0)


class DecordSource:
    """Forward reading with decord, timed by the packets."""

    def __init__(self, path: Path, reader: Any, table: _PacketTable) -> None:  # noqa: ANN401
        self._path = path
        self._reader = reader
        self._table = table
        self.decoder = decord_version()
        self.fps = table.fps
        self.size = table.size

    def __iter__(self) -> Iterator[tuple[Fraction, Callable[[], Frame]]]:
        """See ``extract.decode.FrameSource``."""
        import decord

        for number, seconds in enumerate(self._table.seconds):
            try:
                frame = self._reader.next()
            except decord.DECORDError:
                rest = PyavSource(self._path)
                self.decoder = f"{self.decoder}, {rest.decoder}"
                yield from islice(rest, number, None)
                return
            yield seconds, frame.asnumpy

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """See ``extract.decode.FrameSource``."""
        return last_seconds + (self._table.last_duration or 1 / self.fps)
