"""Decoding one video on several threads, each at another stretch of it.

    packets -> stretches, from one entry point to the next -> threads -> frames, in their order

A decoder's own threads wait for each other, the more the more frames are skipped, and that costs
CPU time, too. Those that decode stretches wait for nothing; the frames are the same bit for bit.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from queue import SimpleQueue
from typing import Any

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from extract.decode.entry_points import EntryPoints

__all__ = ["Asked", "Shown", "Unplain", "decode"]

MOST_BYTES = 128 * 2**20
"""Of a stretch: its packets, and the frames that are asked for. One that is larger is decoded by
itself, and so is all that follows. Ten seconds of 1080p at two frames a second have 60 MB."""

AHEAD_BYTES = 256 * 2**20
"""Of all stretches that are decoded, or wait to be shown, at a time."""

PACKET_BYTES = 1024
"""What a packet takes beside its data, about."""

Asked = tuple["Packet[VideoStream]", bool]
"""A packet, and whether somebody asks for its frame."""

Shown = VideoFrame | int
"""A frame, or the timestamp of one that was decoded and nobody asks for."""


class Unplain(Exception):
    """The packets do not say which frames there are."""


def decode(
    packets: Iterator[Asked],
    context: VideoCodecContext,
    more: Callable[[], VideoCodecContext],
    num_threads: int,
) -> Iterator[Shown]:
    """Yield what packets show, in presentation order; frames that were skipped are left out.

    Args:
        packets: All of a stream, in decoding order.
        context: Of the stream, for what cannot be cut into stretches; has threads of its own.
        more: Makes another context of the stream, for one thread.
        num_threads: Stretches that are decoded side by side; one more may wait to be shown.

    Raises:
        Unplain: if a frame is damaged, or counts time in another unit than its packet.
        av.FFmpegError: if FFmpeg gives up.
    """
    under_way: deque[_Stretch] = deque()
    with _Threads(more, num_threads) as threads:
        for part, num_bytes in _stretches(packets, context):
            is_stretch = isinstance(part, list) and num_threads > 1
            most = AHEAD_BYTES - num_bytes if is_stretch else -1
            while under_way and (
                len(under_way) > num_threads or sum(one.num_bytes for one in under_way) > most
            ):
                yield from under_way.popleft()
            if is_stretch:
                under_way.append(threads.start(part, num_bytes))
            else:
                yield from _shown(context, part)
        while under_way:
            yield from under_way.popleft()


def _stretches(
    packets: Iterator[Asked], context: VideoCodecContext
) -> Iterator[tuple[list[Asked] | Iterator[Asked], int]]:
    """Yield stretches as lists, and their bytes; as an iterator what is to be decoded by itself."""
    entries = EntryPoints(context)
    frame_bytes = context.width * context.height * 3 // 2
    stretch: list[Asked] = []
    num_bytes, is_only = 0, True
    for packet, is_asked in packets:
        if entries.is_entry(packet) and stretch:
            yield stretch, num_bytes
            stretch, num_bytes, is_only = [], 0, False
        stretch.append((packet, is_asked))
        num_bytes += PACKET_BYTES + packet.size + is_asked * frame_bytes
        if num_bytes > MOST_BYTES:
            yield chain(stretch, packets), num_bytes
            return
    yield iter(stretch) if is_only else stretch, num_bytes


class _Stretch:
    """What a stretch shows, while it is decoded."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self._items = SimpleQueue[Shown | Exception | None]()

    def put(self, item: Shown | Exception | None) -> None:
        """Add something shown; at the end None, or why there is no more."""
        self._items.put(item)

    def __iter__(self) -> Iterator[Shown]:
        while (item := self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


class _Threads:
    """Threads with a decoder each; they stop when the block ends."""

    def __init__(self, more: Callable[[], VideoCodecContext], num_threads: int) -> None:
        self._more = more
        self._pool = ThreadPoolExecutor(num_threads, "stretch")
        self._own = threading.local()
        self._is_stopped = False

    def __enter__(self) -> "_Threads":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._pool.shutdown()

    def start(self, packets: Iterable[Asked], num_bytes: int) -> _Stretch:
        """Have a thread decode a stretch."""
        stretch = _Stretch(num_bytes)
        self._pool.submit(self._decode, packets, stretch)
        return stretch

    def _decode(self, packets: Iterable[Asked], stretch: _Stretch) -> None:
        try:
            if not hasattr(self._own, "context"):
                self._own.context = self._more()
            for item in _shown(self._own.context, packets):
                if self._is_stopped:
                    return
                stretch.put(item)
        except Exception as error:  # whoever iterates over the stretch must not wait for ever
            stretch.put(error)
        else:
            stretch.put(None)


def _shown(context: VideoCodecContext, packets: Iterable[Asked]) -> Iterator[Shown]:
    """Decode packets and empty the decoder, which is then as new."""
    asked: set[int | None] = set()
    end = Packet()
    time_base: Fraction | None = None
    for packet, is_asked in packets:
        if time_base is None:  # each time it is asked for, PyAV makes a new one
            end.time_base = time_base = packet.time_base
        if is_asked:
            asked.add(packet.pts)
        # Whether a frame is decoded for others' sake, only the decoder knows.
        context.skip_frame = "DEFAULT" if is_asked else "NONREF"
        yield from _checked(context, packet, asked, time_base)
    yield from _checked(context, end, asked, time_base)
    context.flush_buffers()


def _checked(
    context: VideoCodecContext,
    packet: "Packet[Any]",
    asked: set[int | None],
    time_base: Fraction | None,
) -> Iterator[Shown]:
    for frame in context.decode(packet):
        if frame.is_corrupt or frame.pts is None or frame.time_base != time_base:
            raise Unplain
        if frame.pts in asked:
            asked.remove(frame.pts)
            yield frame
        else:
            yield frame.pts
