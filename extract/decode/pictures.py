"""Still pictures of a video, found by seeking: for people to look at, never for features."""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from cache_schema.errors import VideoError
from extract.decode.av_errors import av_reason
from extract.decode.frame_times import FrameTimes
from extract.decode.pyav_source import (
    average_fps,
    open_container,
    start_seconds,
    video_stream,
)
from extract.decode.upright import upright_of

__all__ = ["pictures_at", "plays_in_browsers"]

MOST_FRAMES = 1500
"""Decoded for one picture: a minute of video; encoders set a key frame every 10 s or oftener."""

NEAR_SECONDS = 2
"""As far ahead, decoding on is as quick as seeking."""

BACK_SECONDS = (0, 2, 10)
"""How far before the instant to seek: an index may lead to a key frame that is shown after it."""

JPEG_QUALITY = 70

MOV = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"
"""FFmpeg's names of the two families."""

BROWSER_CODECS = {
    (MOV, ".mp4"): {"h264", "vp9", "av1"},
    (MOV, ".m4v"): {"h264", "vp9", "av1"},
    (MOV, ".mov"): {"h264"},
    (MATROSKA, ".webm"): {"vp8", "vp9", "av1"},
}
"""What Chromium, Firefox and Safari play of each kind of file, told by its content and its name."""

BROWSER_PIXELS = {"yuv420p", "yuvj420p"}
"""8 bits, 4:2:0."""


def pictures_at(path: str | Path, seconds: Sequence[float], *, height: int = 96) -> list[bytes]:
    """Return the frames that a video shows at some instants, upright, as JPEG files.

    Before the first frame it is the first, behind the last the last. A video without a key frame
    for more than 1500 frames gives the frame reached then, which is earlier than the one asked for.

    Args:
        path: A video that PyAV can read.
        seconds: From the container's start, in any order.
        height: In pixels; smaller videos stay as they are.

    Raises:
        VideoError: if the file is no video, or does not decode where a picture is wanted, or an
            instant is no finite number.
    """
    instants = [float(instant) for instant in seconds]  # of NumPy's numbers, too
    if not all(map(math.isfinite, instants)):
        raise VideoError(f"pictures at {instants} s were asked for, expected finite numbers.")
    with closing(_Frames(Path(path))) as frames:
        found = {
            instant: _jpeg(frames.shown_at(Fraction(instant)), height)
            for instant in sorted(set(instants))
        }
        return [found[instant] for instant in instants]


def plays_in_browsers(path: str | Path) -> bool:
    """Tell whether browsers play a file's video: by container, codec and pixel format.

    What cannot be opened does not play.
    """
    path = Path(path)
    try:
        with open_container(path) as container:
            stream = video_stream(container)
            codecs = BROWSER_CODECS.get((container.format.name, path.suffix.lower()), set())
            return stream.codec_context.name in codecs and stream.pix_fmt in BROWSER_PIXELS
    except VideoError:
        return False


class _Timed(NamedTuple):
    seconds: Fraction
    frame: VideoFrame


class _Frames:
    """An open video whose frames are asked for in the order of time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown: _Timed | None = None
        self._next: _Timed | None = None
        self._open()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def shown_at(self, instant: Fraction) -> VideoFrame:
        """Return the frame shown at an instant, in seconds."""
        try:
            if not self._is_near(instant):
                self._seek(instant)
            self._advance(instant)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"cannot be decoded at {float(instant):.2f} s: {av_reason(error)}. "
                "Get the file again."
            ) from error
        shown = self._shown or self._next
        if shown is None:
            raise VideoError("no frame could be decoded. Get the file again.")
        return shown.frame

    def _is_near(self, instant: Fraction) -> bool:
        start = Fraction(0) if self._shown is None else self._shown.seconds
        return instant - start <= NEAR_SECONDS

    def _seek(self, instant: Fraction) -> None:
        """Go to a key frame that is shown at the instant or before; else to the beginning."""
        for back in BACK_SECONDS:
            start = max(instant - back, Fraction(0)) + self._zero
            with suppress(av.FFmpegError):  # some files cannot be sought in
                self._container.seek(round(start * av.time_base), backward=True)
                self._frames = self._decode()
                self._shown, self._next = None, next(self._frames, None)
                if self._next is not None and self._next.seconds <= instant:
                    return
        self.close()
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream = video_stream(self._container)
        self._stream.thread_type = "AUTO"
        self._zero = start_seconds(self._container, self._stream)
        self._frames = self._decode()
        self._shown = self._next = None

    def _advance(self, instant: Fraction) -> None:
        for _ in range(MOST_FRAMES):
            if self._next is None:
                self._next = next(self._frames, None)
            if self._next is None or self._next.seconds > instant:
                return
            self._shown, self._next = self._next, None

    def _decode(self) -> Iterator[_Timed]:
        times = FrameTimes(self._container, average_fps(self._stream))
        for frame in self._container.decode(self._stream):
            seconds = times.of(frame)
            if seconds is not None:
                yield _Timed(seconds - self._zero, frame)


def _jpeg(frame: VideoFrame, height: int) -> bytes:
    upright = upright_of(frame)
    scale = min(1.0, height / upright.size(frame.height, frame.width)[0])
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    small = frame.reformat(width=size[0], height=size[1], format="rgb24", interpolation="AREA")
    file = io.BytesIO()
    rgb = small.to_ndarray().astype(np.uint8, copy=False)
    Image.fromarray(upright.image(rgb)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
