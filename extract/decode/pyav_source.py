"""Forward decoding with PyAV (FFmpeg): the reference backend, which reads everything."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cache_schema.errors import VideoError
from cache_schema.object_backend.object_file import ObjectFile
from cache_schema.place import Address, Place
from extract.decode.av_errors import open_errors, read_errors
from extract.decode.frame_times import FrameTimes
from extract.decode.frames import Convert, Frame, FrameClock, NewPixels, RunCopy
from extract.decode.pyav_planes import planes_of
from extract.decode.pyav_rgb import RgbConverter
from extract.decode.skipping import SkippingDecoder, is_plain
from extract.decode.stretches import Unplain
from extract.decode.upright import Upright, UprightFrames
from extract.decode.versions import pyav_version

__all__ = [
    "PyavSource",
    "average_fps",
    "open_container",
    "probe",
    "start_seconds",
    "video_stream",
]

STILL_IMAGES = ("_pipe", "image2")
"""FFmpeg's names of what reads a single picture end so."""

MOST_THREADS = 8
"""That decode one video side by side; each may hold what ``stretches.MOST_BYTES`` says."""

STILL = "is a still image, no video. Move it out of the folder."


def probe(path: Place) -> float:
    """Return the duration in seconds that the file's header declares; 0 if it does not.

    Raises:
        VideoError: if the file holds no video.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        return float(_declared_duration(container, stream) or 0)


class PyavSource:
    """Forward decoding with PyAV (FFmpeg); the reference backend."""

    def __init__(self, path: Place) -> None:
        self._path = path
        self._converter: Callable[[VideoFrame, Upright], Convert] = RgbConverter()
        self._open()

    def give_planes(self, new: NewPixels, run: RunCopy) -> None:
        """See ``GivesPlanes``."""
        to_rgb = self._converter
        self._converter = lambda frame, upright: (
            planes_of(frame, upright, new, run) or to_rgb(frame, upright)
        )

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream = video_stream(self._container)
        self._stream.thread_type = "AUTO"
        self._zero = start_seconds(self._container, self._stream)
        self._declared = _declared_duration(self._container, self._stream)
        self._is_one_of_several = len(self._container.streams.video) > 1
        self._stream_declares = self._stream.duration is not None
        self._last_seconds = Fraction(0)
        self._last_frame: VideoFrame | None = None
        self._num_frames = 0
        self.decoder = pyav_version()
        self.fps = average_fps(self._stream)
        self._times = FrameTimes(self._container, self.fps)
        self._uprights = UprightFrames()
        self.size = (self._stream.height, self._stream.width)

    def __iter__(self) -> Iterator[tuple[Fraction, Convert]]:
        """See ``FrameSource``."""
        with self._container:
            for frame in self._decode():
                self._note(frame)
                if frame.is_corrupt:
                    # FFmpeg paints over the damage, and the frames that follow inherit it.
                    raise VideoError(
                        f"is damaged: the frame at {float(self._last_seconds):.2f} s does not "
                        "decode cleanly. Get the file again; to accept the damage, re-encode it."
                    )
                yield self._last_seconds, self._converter(frame, self._upright)

    def at(self, fps: Fraction) -> Iterator[tuple[Fraction, Convert]]:
        """See ``SkipsFrames``; damage in a frame that is skipped is not noticed."""
        given: list[Fraction] = []
        try:
            if is_plain(self._container, self._stream):
                for now, convert in self._skipping(fps):
                    given.append(now)
                    yield now, convert
                return
        except Unplain:
            self._open()  # as if nothing had been read
        frames = iter(self)
        _check_times([now for now, _ in islice(frames, len(given))], given)
        yield from frames

    def _skipping(self, fps: Fraction) -> Iterator[tuple[Fraction, Convert]]:
        seconds_of = _seconds_of(Fraction(self._stream.time_base or 1), self._zero)
        with self._container, read_errors(self._how_far):
            for frame in SkippingDecoder(
                self._container,
                self._stream,
                fps,
                seconds_of,
                more=self._another_decoder,
                num_threads=min(MOST_THREADS, len(os.sched_getaffinity(0))),
            ):
                if isinstance(frame, int):
                    self._num_frames += 1
                    yield seconds_of(frame), _skipped
                else:
                    self._note(frame)
                    yield self._last_seconds, self._converter(frame, self._upright)

    def _another_decoder(self) -> VideoCodecContext:
        # What a container says of its stream, such as colours, cannot be copied from decoder to
        # decoder.
        with open_container(self._path) as container:
            context = video_stream(container).codec_context
        context.thread_count = 1
        return context

    def _note(self, frame: VideoFrame) -> None:
        seconds = self._times.of(frame)
        if seconds is None:
            raise VideoError(f"frame {self._num_frames} has no timestamp. Re-mux the file.")
        self._upright = self._uprights.of(frame)
        self.size = self._upright.size(frame.height, frame.width)
        self._last_frame = frame
        self._last_seconds = seconds - self._zero if self._zero else seconds
        self._num_frames += 1

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """See ``FrameSource``; a file that stops well before its declared end is cut off."""
        if self._num_frames == 1 and self._container.format.name == "gif":
            raise VideoError(STILL)
        if self._num_frames == 1 and self._is_one_of_several:
            raise VideoError(
                "begins with a stream of one picture, before another video stream. Leave that one "
                "alone in the file, for example with ffmpeg -map 0:v:1 -c copy."
            )
        end = last_seconds + (_duration(self._last_frame) or 1 / self.fps)
        if self._declared is not None and self._is_cut_off(end, self._declared):
            raise VideoError(
                f"is truncated: frames end at {float(end):.2f} s of the "
                f"{float(self._declared):.2f} s its header declares. Get the file again."
            )
        return end

    def _is_cut_off(self, end: Fraction, declared: Fraction) -> bool:
        least = declared - max(Fraction(1), declared / 20)
        # Some containers (Matroska) count their duration from zero, not from their start.
        if end + max(self._zero, Fraction(0)) >= least:
            return False
        # Where only the container declares a duration, sound or subtitles may last longer.
        return self._stream_declares or _last_second(self._path) < least

    def _packets(self) -> "Iterator[Packet[VideoStream]]":
        """Yield the stream's packets.

        Raises:
            VideoError: where one is incomplete, as the container knows (packets of a transport
                stream are counted). Its frame may look as if nothing was lost.
        """
        last: list[Packet[VideoStream]] = []
        for packet in self._container.demux(self._stream):
            if len(last) == 2 and last[0].is_corrupt and not _are_joined(last[1], packet):
                raise VideoError(
                    f"is damaged: data is missing at about {self._second_of(last[0]):.2f} s. Get "
                    "the file again; to accept the damage, re-encode it."
                )
            last = [*last[-1:], packet]
            yield packet
        for packet in last:
            if packet.is_corrupt:  # only its beginning is there, and its frame may just be missing
                raise VideoError(
                    f"is truncated: frames end at {self._second_of(packet):.2f} s, within one. Get "
                    "the file again."
                )

    def _second_of(self, packet: "Packet[VideoStream]") -> float:
        seconds = (packet.dts or 0) * Fraction(self._stream.time_base or 1) - self._zero
        return float(max(seconds, Fraction(0)))  # a first packet may be decoded before zero

    def _decode(self) -> Iterator[VideoFrame]:
        with read_errors(self._how_far):
            for packet in self._packets():
                yield from packet.decode()

    def _how_far(self) -> str:
        return f"cannot be decoded beyond {float(self._last_seconds):.2f} s"


def _duration(frame: VideoFrame | None) -> Fraction | None:
    """Return the seconds that a frame says it is shown, if it does."""
    if frame is None or frame.time_base is None:
        return None
    return (frame.duration or 0) * frame.time_base


def average_fps(stream: VideoStream) -> Fraction:
    """Return the average frame rate the file declares; 25 where it declares none."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return Fraction(rate) if rate else Fraction(25)


def _seconds_of(time_base: Fraction, zero: Fraction) -> Callable[[int], Fraction]:
    """Return the function from timestamps to seconds after a time zero, as one fraction each."""
    parts = math.lcm(time_base.denominator, zero.denominator)
    factor, offset = int(time_base * parts), int(zero * parts)
    return lambda pts: Fraction(pts * factor - offset, parts)


def start_seconds(container: av.container.InputContainer, stream: VideoStream) -> Fraction:
    """Return the container's start, which is time zero.

    FFmpeg rounds it to microseconds; where it is the video's own start, the exact one is taken,
    or ticks that coincide with frames would fall on either side of them.
    """
    own = None
    if stream.start_time is not None and stream.time_base is not None:
        own = stream.start_time * Fraction(stream.time_base)
    if container.start_time is None:
        return own or Fraction(0)
    start = Fraction(container.start_time, av.time_base)
    return own if own is not None and abs(own - start) <= Fraction(1, 500_000) else start


def open_container(path: Place) -> av.container.InputContainer:
    """Open a file, or an object, that may hold a video; of an object only ranges are read.

    Raises:
        PassingVideoError: if it cannot be read.
        VideoError: if it is no video, or a still image.
    """
    with open_errors(path):
        place = ObjectFile(path) if isinstance(path, Address) else str(path)
        # Titles of older files are in the encodings of their time.
        container = av.open(place, mode="r", metadata_errors="replace")
    if container.format.name.endswith(STILL_IMAGES):
        container.close()
        raise VideoError(STILL)
    return container


def video_stream(container: av.container.InputContainer) -> VideoStream:
    """Return the first stream that is a video.

    Raises:
        VideoError: if there is none, or nothing that decodes it; the container is closed then.
    """
    for stream in container.streams.video:
        # Cover art of an audio file is a video stream of one picture.
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is not None:
                return stream
            container.close()
            raise VideoError(f"has no decoder for its codec (PyAV {av.__version__}).")
    container.close()
    raise VideoError("holds no video stream. Move it out of the folder.")


def _declared_duration(
    container: av.container.InputContainer, stream: VideoStream
) -> Fraction | None:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * Fraction(stream.time_base)
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    return None


def _are_joined(packet: "Packet[VideoStream]", following: "Packet[VideoStream]") -> bool:
    """Tell whether data that seems to be missing at a packet is none: two files were joined.

    FFmpeg marks the packet before. The second file counts its packets anew and begins with a key
    frame.
    """
    return following.is_keyframe and not packet.is_keyframe


def _last_second(path: Place) -> Fraction:
    """Return when the last packet of all streams of a file ends, by its container's clock.

    Raises:
        PassingVideoError: if it cannot be read to its end, wherever that is.
    """
    last = Fraction(0)
    with open_container(path) as container, read_errors(lambda: "cannot be read to its end"):
        try:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
    return last


def _skipped() -> Frame:
    """Stand for a frame that no tick falls on, unless the frame behind it does not decode."""
    raise VideoError("its index lists a frame that cannot be decoded. Get the file again.")


def _check_times(times: Sequence[Fraction], given: Sequence[Fraction]) -> None:
    """Check that what was given before a file turned out not to be plain is what there is.

    Raises:
        VideoError: if its frames come at other times than its packets said.
    """
    clock = FrameClock(keep=False)
    for now in times:
        clock.take(now)
    if times != given:
        raise VideoError("its packets and its frames tell different times. Re-mux the file.")
