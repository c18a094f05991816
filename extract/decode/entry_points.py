"""At which packets of an H.264 file a decoder may start, and give the bits of one that came along.

An IDR picture empties a decoder: no picture from there on is made from one before it, and none is
shown before one before it (ITU-T H.264, 7.4.1.2.4 and 8.2.5.1). What else a decoder carries along
are parameter sets, which the file's header must hold all of, and, in FFmpeg, the version of the
encoder x264, to make up for the errors of early ones.
"""

import re
from collections.abc import Iterator

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

__all__ = ["EntryPoints"]

IDR = 5
SLICES = (1, 2, 5)
PARAMETER_SETS = (7, 8, 13, 15)
"""Types of network abstraction layer units (H.264, table 7-1)."""

PLAIN_FORMATS = ("yuv420p", "yuvj420p")
"""Only with others FFmpeg goes by the version of x264 up to number 150 (``h264_cabac.c``) ..."""

OLD_X264 = 33
"""... and with these up to this one, of 2005 (``h264_direct.c``)."""


class EntryPoints:
    """Tells entry points among the packets of a stream, which are shown to it in order."""

    def __init__(self, context: VideoCodecContext) -> None:
        """Read the header.

        Args:
            context: Of an H.264 stream in MP4 or MOV.
        """
        self._header = context.extradata or b""
        # An AVC decoder configuration record (ISO/IEC 14496-15) starts with 1.
        self._is_known = self._header[:1] == b"\1" and context.pix_fmt in PLAIN_FORMATS
        self._length_bytes = (self._header[4] & 3) + 1 if len(self._header) > 4 else 0
        self._is_first = True

    def is_entry(self, packet: "Packet[VideoStream]") -> bool:
        """Tell whether a decoder may start here; once it is in doubt, at no later packet either."""
        if not self._is_known:
            return False
        data = bytes(packet)
        self._is_known = not packet.has_sidedata("new_extradata") and not (
            self._is_first and _is_of_old_x264(data)
        )
        self._is_first = False
        slices = set()
        for unit in self._units(data):
            kind = unit[0] & 31 if unit else 0
            slices |= {kind} & set(SLICES)
            if kind in PARAMETER_SETS and unit not in self._header:
                self._is_known = False
        return self._is_known and slices == {IDR}

    def _units(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            size = int.from_bytes(data[start : start + self._length_bytes])
            start += self._length_bytes
            yield data[start : start + size]
            start += size


def _is_of_old_x264(data: bytes) -> bool:
    version = re.search(rb"x264 - core (\d+)", data)
    return version is not None and int(version[1]) <= OLD_X264
