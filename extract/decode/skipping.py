"""Decoding without the frames that no tick falls on and no other frame is made from.

In H.264 about half of all frames are such. Which frames ticks fall on follows from timestamps, and
packets tell those a little ahead of the decoder:

    packets in decoding order -> timestamps in presentation order -> wanted or not -> decoders

The frames that come out are the same, bit for bit. Wherever a file is not as plain as that needs,
``Unplain`` is raised, and whoever reads it decodes everything.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from cache_schema.frame_sampler import FrameSampler
from extract.decode.stretches import Asked, Shown, Unplain, decode

__all__ = ["SkippingDecoder", "Unplain", "is_plain"]


def is_plain(container: InputContainer, stream: VideoStream) -> bool:
    """Tell whether a packet is one frame here, with its timestamp."""
    return stream.codec_context.name == "h264" and "mp4" in container.format.name.split(",")


class SkippingDecoder:
    """Yields every frame of a video in presentation order, some of them as a timestamp only."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        fps: Fraction,
        seconds_of: Callable[[int], Fraction],
        *,
        more: Callable[[], VideoCodecContext],
        num_threads: int,
    ) -> None:
        """Prepare to decode.

        Args:
            container: Open, at its start.
            stream: One for which ``is_plain`` holds.
            fps: Ticks per second.
            seconds_of: Time of a timestamp of the stream.
            more: Makes another decoder of the stream, with one thread.
            num_threads: How many of these may work side by side.
        """
        self._container = container
        self._stream = stream
        self._sampler = FrameSampler(fps)
        self._seconds_of = seconds_of
        self._more = more
        self._num_threads = num_threads
        self._unsorted: list[int] = []
        self._sorted: deque[int] = deque()
        self._wanted: dict[int, bool] = {}
        self._last: int | None = None
        self._waiting: deque[Packet[VideoStream]] = deque()

    def __iter__(self) -> Iterator[Shown]:
        """Yield decoded frames, and timestamps of those that were skipped or nobody asks for.

        Raises:
            Unplain: if the packets turn out not to say which frames there are.
        """
        context = self._stream.codec_context
        try:
            for item in decode(self._packets(), context, self._more, self._num_threads):
                yield from self._up_to(item)
        except (av.FFmpegError, ValueError) as error:
            raise Unplain from error
        if self._sorted:
            raise Unplain

    def _packets(self) -> Iterator[Asked]:
        """Yield each packet once it is known whether its frame is wanted."""
        for packet in self._container.demux(self._stream):
            if packet.dts is None:  # the last one, which is empty
                self._finish()
            else:
                self._note(packet)
            while self._waiting and (self._waiting[0].pts or 0) in self._wanted:
                packet = self._waiting.popleft()
                yield packet, self._wanted[packet.pts or 0]

    def _finish(self) -> None:
        while self._unsorted:
            self._settle(heapq.heappop(self._unsorted))
        if self._last is not None:
            self._wanted[self._last] = True  # its duration says when the video ends

    def _note(self, packet: "Packet[VideoStream]") -> None:
        """Take the next packet; those before its decoding time have their final order."""
        assert packet.dts is not None
        is_first = self._last is None and not self._unsorted
        if packet.pts is None or packet.pts < packet.dts or packet.is_discard or packet.is_corrupt:
            raise Unplain
        if is_first and not packet.is_keyframe:
            raise Unplain
        heapq.heappush(self._unsorted, packet.pts)
        self._waiting.append(packet)
        while self._unsorted[0] < packet.dts:
            self._settle(heapq.heappop(self._unsorted))

    def _settle(self, pts: int) -> None:
        """Note the next timestamp in presentation order: the one before it is wanted or not."""
        ticks = self._sampler.shown(self._seconds_of(pts))
        if self._last is not None:
            if pts <= self._last:
                raise Unplain
            self._wanted[self._last] = ticks > 0
        elif pts != self._waiting[0].pts:
            raise Unplain  # frames before the first key frame may not decode
        self._last = pts
        self._sorted.append(pts)

    def _up_to(self, item: Shown) -> Iterator[Shown]:
        """Yield the timestamps that were skipped before something shown, and that."""
        pts = item if isinstance(item, int) else item.pts
        while self._sorted and self._sorted[0] != pts:
            skipped = self._sorted.popleft()
            if self._wanted.pop(skipped):
                raise Unplain
            yield skipped
        if not self._sorted:
            raise Unplain
        if self._wanted.pop(self._sorted.popleft()) and isinstance(item, int):
            raise Unplain
        yield item
