"""What a video is to the pipeline: frames with times, forward only, in presentation order.

Backends (``extract.decode.pyav_source``, ``extract.decode.decord_source``) stand behind
``FrameSource``. Frames leave at full size, so the backend's own scaler plays no part; only frames
that are sampled are converted to RGB, or copied as ``Planes`` where a source is told so.

Shapes: H, W image height and width; frames are (H, W, 3) uint8.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import VideoError
from cache_schema.frame_sampler import FrameSampler
from extract.decode.planes import Planes, YuvMatrix

__all__ = [
    "MAX_GAP_SECONDS",
    "Convert",
    "Frame",
    "FrameClock",
    "FrameSource",
    "GivesPlanes",
    "NewPixels",
    "RunCopy",
    "SampledFrame",
    "SkipsFrames",
    "VideoFacts",
    "checked_frame",
    "sample_frames",
]

Frame = NDArray[np.uint8]
Convert = Callable[[], Frame | Planes]
NewPixels = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Returns memory of a shape, whatever is in it."""
RunCopy = Callable[[Callable[[], None], int], None]
"""Has a copy of so many bytes made, by the time that somebody looks."""

MAX_GAP_SECONDS = 3600
"""No video shows one frame for longer. Broken timestamps do (some AVI files: 1e17 s), and a gap
of theirs would be filled with as many rows."""

MAX_FPS = 1000
"""No video is faster on average. Files with a broken time base are: all their frames would become
one row."""

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

    pixels: Frame
    """RGB; with a matrix, what ``Planes`` says."""
    num_ticks: int
    matrix: YuvMatrix | None = None


def checked_frame(rgb: object) -> Frame:
    """Return a frame that came from elsewhere.

    Raises:
        VideoError: if it is no RGB image.
    """
    if not isinstance(rgb, np.ndarray):
        raise VideoError(
            f"a frame is {type(rgb).__name__}, expected a NumPy array: RGB as uint8 (H, W, 3). Of "
            "an image of Pillow's, np.asarray(image.convert('RGB')) makes one."
        )
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise VideoError(f"a frame is {rgb.dtype} {rgb.shape}, expected RGB as uint8 (H, W, 3).")
    return rgb


class FrameSource(Protocol):
    """An open video that yields its frames once, in presentation order."""

    decoder: str
    """Backend and version."""
    fps: Fraction
    size: tuple[int, int]
    """Height and width as shown, after rotation."""

    def __iter__(self) -> Iterator[tuple[Fraction, Convert]]:
        """Yield each frame's time in seconds and a function that makes an image of it."""

    def end_seconds(self, last_seconds: Fraction) -> Fraction:
        """Return when the last frame's display ends, given its start."""


@runtime_checkable
class SkipsFrames(FrameSource, Protocol):
    """A source that need not decode every frame."""

    def at(self, fps: Fraction) -> Iterator[tuple[Fraction, Convert]]:
        """Yield all frames; those that no tick falls on may be functions that fail."""


@runtime_checkable
class GivesPlanes(FrameSource, Protocol):
    """A source that need not convert its frames."""

    def give_planes(self, new: NewPixels, run: RunCopy) -> None:
        """Give frames as ``Planes`` from now on, those of them that can be.

        Args:
            new: Asked for the memory of each of them when its pixels are.
            run: Has it filled.
        """


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
    clock = FrameClock(keep=fps is None)
    convert: Convert | None = None
    for now, this_convert in _all_frames(source, fps):
        on_frame()
        clock.take(now)
        ticks = sampler.shown(now)
        if ticks and convert is not None:
            yield _sampled(convert(), ticks)
        convert = this_convert
    if convert is None:
        raise VideoError("no frame could be decoded. Get the file again.")
    end = clock.end(source)
    ticks = sampler.finish(end)
    if ticks:
        yield _sampled(convert(), ticks)
    facts.append(clock.facts(source, end))


def _sampled(picture: Frame | Planes, num_ticks: int) -> SampledFrame:
    if isinstance(picture, Planes):
        return SampledFrame(pixels=picture.pixels_PW, num_ticks=num_ticks, matrix=picture.matrix)
    return SampledFrame(pixels=picture, num_ticks=num_ticks)


def _all_frames(source: FrameSource, fps: Fraction | None) -> Iterator[tuple[Fraction, Convert]]:
    if fps is None or not isinstance(source, SkipsFrames):
        return iter(source)
    return source.at(fps)


class FrameClock:
    """Frame times of one video: refuses impossible ones, keeps what its facts need."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._seconds = array("d")
        self._first = self._last = Fraction(0)
        self._no_gap_until = Fraction(0)
        self._count = 0

    def take(self, now: Fraction) -> None:
        """Note the next frame's time."""
        if self._count and now <= self._last:
            raise VideoError(
                f"timestamps do not increase: frame {self._count} at {float(now):.3f} s follows "
                f"{float(self._last):.3f} s. Re-mux the file, for example with ffmpeg -c copy."
            )
        if not self._count or now > self._no_gap_until:
            self._refuse_gap(now)
            self._no_gap_until = now + MAX_GAP_SECONDS  # of later frames' times, which increase
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
