"""Video file -> sampled RGB frames, forward only and in presentation order.

Two backends behind ``FrameSource``: PyAV reads everything, decord what it can be trusted with
(see ``extract.decode.decord_source``). Frames leave at full size, so the backend's own scaler plays
no part; only frames that are sampled are converted to RGB.

Shapes: H, W image height and width; frames are (H, W, 3) uint8.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from cache_schema.errors import VideoError
from cache_schema.timeline import FrameSampler

__all__ = [
    "FrameSource",
    "PyavSource",
    "SampledFrame",
    "VideoFacts",
    "probe",
    "sample_frames",
]

Frame = NDArray[np.uint8]

MAX_GAP_SECONDS = 3600
"""No video shows one frame for longer. Broken timestamps do (some AVI files: 1e17 s), and a gap
of theirs would be filled with as many rows."""

MAX_FPS = 1000
"""No video is faster on average. Files with a broken time base are: all their frames would become
one row."""

STILL_IMAGES = ("_pipe", "image2")
"""FFmpeg's names of what reads a single picture end so."""

STILL = "is a still image, no video. Move it out of the folder."

MAX_DECLARED_FPS = 240
"""A header that declares more is not believed (Matroska and FLV often declare 1000)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFacts:
    """What is known of a video once it was read to its end."""

    duration_seconds: float
    num_frames: int
    fps: Fraction
    width: int
    height: int
    decoder: str
    frame_seconds: NDArray[np.float64]
    """Time of every frame if every frame was taken; empty otherwise, or it would grow with the
    video's length for nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledFrame:
    """One frame and the number of consecutive ticks it is shown at."""

    rgb: Frame
    num_ticks: int


class FrameSource(Protocol):
    """An open video that yields its frames once, in presentation order."""

    decoder: str
    """Backend and version."""
    fps: Fraction
    size: tuple[int, int]
    """Height and width as shown, after rotation."""

    def __iter__(self) -> Iterator[tuple[Fraction, Callable[[], Frame]]]:
        """Yield each frame's time in seconds and a function that converts it to RGB."""

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """Return when the last frame's display ends, given its start."""


def pyav_version() -> str:
    """Return the backend's name and version as recipes record it."""
    return f"pyav {av.__version__}"


def probe(path: Path) -> float:
    """Return the duration in seconds that the file's header declares; 0 if it does not.

    Raises:
        VideoError: if the file holds no video.
    """
    with _open(path) as container:
        stream = _video_stream(container)
        return float(_declared_duration(container, stream) or 0)


def sample_frames(
    source: FrameSource,
    fps: Fraction | None,
    facts: list[VideoFacts],
    on_frame: Callable[[], None] = lambda: None,
) -> Iterator[SampledFrame]:
    """Yield the frames that ticks at ``fps`` fall on; all frames if it is None.

    Args:
        source: An open video.
        fps: Ticks per second of video time.
        facts: Gets the video's facts appended once the last frame was yielded.
        on_frame: Called with every decoded frame, sampled or not.

    Raises:
        VideoError: on timestamps that no video has, on damaged frames or on no frame at all.
    """
    sampler = FrameSampler(fps)
    clock = _Clock(keep=fps is None)
    convert: Callable[[], Frame] | None = None
    for now, this_convert in source:
        on_frame()
        clock.take(now)
        ticks = sampler.shown(now)
        if ticks and convert is not None:
            yield SampledFrame(rgb=convert(), num_ticks=ticks)
        convert = this_convert
    if convert is None:
        raise VideoError("no frame could be decoded.")
    end = clock.end(source)
    ticks = sampler.finish(end)
    if ticks:
        yield SampledFrame(rgb=convert(), num_ticks=ticks)
    facts.append(clock.facts(source, end))


class _Clock:
    """Frame times of one video: refuses impossible ones, keeps what its facts need."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._seconds = array("d")
        self._first = self._last = Fraction(0)
        self._count = 0

    def take(self, now: Fraction) -> None:
        """Note the next frame's time."""
        if self._count and now <= self._last:
            raise VideoError(
                f"timestamps do not increase: frame {self._count} at {float(now):.3f} s follows "
                f"{float(self._last):.3f} s. Re-mux the file, for example with ffmpeg -c copy."
            )
        self._refuse_gap(now)
        self._first = self._first if self._count else now
        self._last = now
        self._count += 1
        if self._keep:
            self._seconds.append(float(now))

    def end(self, source: FrameSource) -> Fraction:
        """Return when the last frame's display ends."""
        end = source.end_seconds(self._last)
        if source.fps > MAX_DECLARED_FPS and self._count > 1:
            # Its last frame's duration follows from the same nonsense.
            end = self._last + 1 / self._mean_fps()
        self._refuse_gap(end)
        return end

    def facts(self, source: FrameSource, end: Fraction) -> VideoFacts:
        """Return the facts of the whole video."""
        mean_fps = self._mean_fps() if self._count > 1 else source.fps
        if mean_fps > MAX_FPS:
            raise VideoError(
                f"has an impossible frame rate: {self._count} frames within "
                f"{float(self._last - self._first):.6f} s. Its time base is broken: re-encode it "
                "at its true rate."
            )
        return VideoFacts(
            duration_seconds=float(end),
            num_frames=self._count,
            fps=source.fps if source.fps <= MAX_DECLARED_FPS else mean_fps,
            width=source.size[1],
            height=source.size[0],
            decoder=source.decoder,
            frame_seconds=np.array(self._seconds, dtype=np.float64),
        )

    def _mean_fps(self) -> Fraction:
        return (self._count - 1) / (self._last - self._first)

    def _refuse_gap(self, now: Fraction) -> None:
        # Before the first frame the last time is zero, where the container starts.
        if abs(now - self._last) > MAX_GAP_SECONDS:
            raise VideoError(
                f"timestamps are broken: from {float(self._last):.3f} s they jump to "
                f"{float(now):.6g} s. Re-mux the file, for example with ffmpeg -c copy."
            )


class PyavSource:
    """Forward decoding with PyAV (FFmpeg); the reference backend."""

    def __init__(self, path: Path) -> None:
        self._container = _open(path)
        self._stream = _video_stream(self._container)
        self._stream.thread_type = "AUTO"
        self._zero = start_seconds(self._container, self._stream)
        self._declared = _declared_duration(self._container, self._stream)
        self._last_seconds = self._last_duration = Fraction(0)
        self._num_frames = 0
        self.decoder = pyav_version()
        self.fps = average_fps(self._stream)
        self.size = (self._stream.height, self._stream.width)

    def __iter__(self) -> Iterator[tuple[Fraction, Callable[[], Frame]]]:
        """See ``FrameSource``."""
        with self._container:
            for number, frame in enumerate(self._decode()):
                if frame.pts is None or frame.time_base is None:
                    raise VideoError(f"frame {number} has no timestamp. Re-mux the file.")
                self.size = _upright_size(frame)
                self._last_duration = (frame.duration or 0) * frame.time_base
                self._last_seconds = seconds = frame.pts * frame.time_base - self._zero
                self._num_frames = number + 1
                if frame.is_corrupt:
                    # FFmpeg paints over the damage, and the frames that follow inherit it.
                    raise VideoError(
                        f"is damaged: the frame at {float(seconds):.2f} s does not decode cleanly. "
                        "Get the file again; to accept the damage, re-encode it."
                    )
                yield seconds, _converter(frame)

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """See ``FrameSource``; a file that stops well before its declared end is cut off."""
        if self._num_frames == 1 and self._container.format.name == "gif":
            raise VideoError(STILL)
        end = last_seconds + (self._last_duration or 1 / self.fps)
        declared = self._declared
        # Some containers (Matroska) count their duration from zero, not from their start.
        furthest = end + max(self._zero, Fraction(0))
        if declared is not None and furthest < declared - max(Fraction(1), declared / 20):
            raise VideoError(
                f"is truncated: frames end at {float(end):.2f} s of the {float(declared):.2f} s "
                "its header declares. Get the file again."
            )
        return end

    def _decode(self) -> Iterator[VideoFrame]:
        try:
            yield from self._container.decode(self._stream)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"cannot be decoded beyond {float(self._last_seconds):.2f} s: {_reason(error)}. "
                "Get the file again."
            ) from error


def average_fps(stream: VideoStream) -> Fraction:
    """Return the average frame rate the file declares; 25 where it declares none."""
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return Fraction(rate) if rate else Fraction(25)


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


def _open(path: Path) -> av.container.InputContainer:
    try:
        container = av.open(str(path), mode="r")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(_no_video(path, error)) from error
    if container.format.name.endswith(STILL_IMAGES):
        container.close()
        raise VideoError(STILL)
    return container


def _no_video(path: Path, error: Exception) -> str:
    if not isinstance(error, av.error.InvalidDataError):
        return f"cannot be opened as a video: {_reason(error)}."
    if path.stat().st_size == 0:
        return "is empty (0 bytes). Get the file again."
    return (
        f"cannot be opened as a video: {_reason(error)}. It is no video, or its index was cut "
        "off. Get the file again."
    )


def _video_stream(container: av.container.InputContainer) -> VideoStream:
    for stream in container.streams.video:
        # Cover art of an audio file is a video stream of one picture.
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise VideoError(f"has no decoder for its codec (PyAV {av.__version__}).")
            return stream
    container.close()
    raise VideoError("holds no video stream.")


def _declared_duration(
    container: av.container.InputContainer, stream: VideoStream
) -> Fraction | None:
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * Fraction(stream.time_base)
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    return None


def _upright_size(frame: VideoFrame) -> tuple[int, int]:
    turned = frame.rotation % 180 != 0
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def _converter(frame: VideoFrame) -> Callable[[], Frame]:
    """Return a function that converts one frame, so that skipped frames cost nothing."""

    def convert() -> Frame:
        rgb = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        quarters = round(frame.rotation / 90)
        return np.ascontiguousarray(np.rot90(rgb, quarters)) if quarters % 4 else rgb

    return convert


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".")
