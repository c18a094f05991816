"""The pixels of the demo set: photographs moved by verbs over textured backgrounds.

Data in: `VideoTruth`, frame size, seed. Data out: RGB frames (H, W, 3) uint8, one after another.
Legend: H, W frame height and width; S side of a square picture; C colours.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import skimage.data
import skimage.transform

from demo.grammar import FRAMES_PER_SECOND, Segment
from demo.truth import DemoSpec, Scene, VideoTruth
from demo.vocabulary import NOUN_OF_KEY

Image = npt.NDArray[np.uint8]

PICTURE_SIDE = 144
"""Pixels of a stored picture: what it covers when zoomed in, for sampling by nearest pixel."""
PICTURE_HEIGHT_FRACTION = 0.8
"""Part of the frame's height that a picture at scale 1 covers."""
TEXTURES = ("brick", "grass", "gravel")
DRIFT_PIXELS_PER_SECOND = 6.0
DRIFT_PIXELS = 64
"""After so many pixels the background jumps back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """How a picture lies in one frame."""

    scale: float = 1.0
    angle: float = 0.0
    """Radians."""
    right: float = 0.0
    """Shift of the centre, as a fraction of the frame's width."""
    down: float = 0.0
    """The same for the height."""
    gain: float = 1.0
    """Factor on the brightness of the whole frame, background included."""


def _shake(progress: float, seconds: float) -> Pose:
    return Pose(
        right=0.08 * math.sin(2 * math.pi * 4.3 * seconds),
        down=0.06 * math.cos(2 * math.pi * 3.1 * seconds),
    )


POSE_OF_VERB: dict[str, Callable[[float, float], Pose]] = {
    "hold": lambda progress, seconds: Pose(),
    "zoom-in": lambda progress, seconds: Pose(scale=0.6 * 2.6**progress),
    "zoom-out": lambda progress, seconds: Pose(scale=0.6 * 2.6 ** (1 - progress)),
    "slide-left": lambda progress, seconds: Pose(right=0.38 - 0.76 * progress),
    "slide-right": lambda progress, seconds: Pose(right=0.76 * progress - 0.38),
    "rotate": lambda progress, seconds: Pose(angle=0.9 * math.pi * progress),
    "shake": _shake,
    "fade-in": lambda progress, seconds: Pose(gain=0.08 + 0.92 * progress),
    "fade-out": lambda progress, seconds: Pose(gain=1.0 - 0.92 * progress),
    "flash": lambda progress, seconds: Pose(
        gain=1.0 + 0.8 * abs(math.sin(2 * math.pi * 1.3 * seconds))
    ),
}
"""(progress in [0, 1), seconds since the start of the action) -> pose."""


@cache
def noun_picture(noun: str) -> Image:
    """Return a noun's photograph as (S, S, 3); read from the files installed with scikit-image."""
    photograph = getattr(skimage.data, NOUN_OF_KEY[noun].photograph)()
    # The stereo pair comes as (left, right, disparity).
    return _square(photograph[0] if isinstance(photograph, tuple) else photograph)


def _square(photograph: Image) -> Image:
    side = min(photograph.shape[:2])
    top, left = (photograph.shape[0] - side) // 2, (photograph.shape[1] - side) // 2
    # Thinned first: smoothing a photograph of 1,411 pixels takes longer than a whole small video.
    step = max(1, side // (2 * PICTURE_SIDE))
    square: Image = photograph[top : top + side : step, left : left + side : step]
    if square.ndim == 2:
        square = np.repeat(square[..., None], 3, axis=-1)
    resize: Callable[..., npt.NDArray[np.float64]] = skimage.transform.resize
    small_SSC = resize(square, (PICTURE_SIDE, PICTURE_SIDE, 3), anti_aliasing=True)
    return np.rint(small_SSC * 255).astype(np.uint8)


@cache
def _texture(name: str) -> Image:
    texture: Image = getattr(skimage.data, name)()
    return texture


class Background:
    """A tinted texture that drifts slowly, a new one for every scene."""

    def __init__(
        self, rng: np.random.Generator, tint_C: npt.NDArray[np.float64], height: int, width: int
    ) -> None:
        """Choose texture, brightness and place; `tint_C` is the colour of the participant."""
        texture = _texture(TEXTURES[int(rng.integers(len(TEXTURES)))])
        top, left = rng.integers(0, 120, size=2)
        piece = texture[top : top + height, left : left + width + DRIFT_PIXELS]
        self._piece_HWC = (piece[..., None] * tint_C * rng.uniform(0.6, 0.9)).astype(np.uint8)
        self._width = width

    def frame(self, seconds: float) -> Image:
        """Return a copy of the (H, W, 3) piece visible `seconds` after the start of the video."""
        left = int(seconds * DRIFT_PIXELS_PER_SECOND) % DRIFT_PIXELS
        return self._piece_HWC[:, left : left + self._width].copy()


class Canvas:
    """Pastes pictures into frames of one size."""

    def __init__(self, height: int, width: int) -> None:
        """Prepare the coordinates of all pixels, relative to the frame's centre."""
        self._height, self._width = height, width
        self._down_HW, self._right_HW = np.mgrid[:height, :width].astype(np.float32)
        self._down_HW -= (height - 1) / 2
        self._right_HW -= (width - 1) / 2

    def paste(self, frame_HWC: Image, picture_SSC: Image, pose: Pose) -> Image:
        """Paste a picture into a frame, in place, and return the frame under the pose's light."""
        row_HW, column_HW = self._picture_coordinates(picture_SSC.shape[0], pose)
        side = picture_SSC.shape[0]
        inside_HW = (row_HW >= 0) & (row_HW < side) & (column_HW >= 0) & (column_HW < side)
        frame_HWC[inside_HW] = picture_SSC[row_HW[inside_HW], column_HW[inside_HW]]
        return frame_HWC if pose.gain == 1.0 else _light(frame_HWC, pose.gain)

    def _picture_coordinates(
        self, side: int, pose: Pose
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        # Inverse of: scale and rotate the picture about its centre, then shift it.
        picture_pixels = side / (PICTURE_HEIGHT_FRACTION * self._height * pose.scale)
        along = np.float32(picture_pixels * math.cos(pose.angle))
        across = np.float32(picture_pixels * math.sin(pose.angle))
        down_HW = self._down_HW - np.float32(pose.down * self._height)
        right_HW = self._right_HW - np.float32(pose.right * self._width)
        centre = np.float32(side / 2)
        row_HW = np.floor(along * down_HW - across * right_HW + centre).astype(np.int32)
        column_HW = np.floor(across * down_HW + along * right_HW + centre).astype(np.int32)
        return row_HW, column_HW


def _light(frame_HWC: Image, gain: float) -> Image:
    table: Image = np.minimum(np.arange(256) * gain, 255).astype(np.uint8)
    lit_HWC: Image = np.take(table, frame_HWC)
    return lit_HWC


def render_frames(video: VideoTruth, spec: DemoSpec) -> Iterator[Image]:
    """Yield the frames of a video, (H, W, 3) uint8 RGB; between actions only background shows."""
    rng = np.random.default_rng([spec.seed, zlib.crc32(video.video_id.encode())])
    tint_C = _tint(video.participant_id)
    canvas = Canvas(spec.height, spec.width)
    for scene, start_frame, end_frame in _scenes_with_surroundings(video):
        background = Background(rng, tint_C, spec.height, spec.width)
        size = float(rng.uniform(0.9, 1.1))
        segments = {
            frame_number: segment
            for segment in scene.segments
            for frame_number in range(segment.start_frame, segment.end_frame)
        }
        for frame_number in range(start_frame, end_frame):
            frame_HWC = background.frame(frame_number / FRAMES_PER_SECOND)
            segment = segments.get(frame_number)
            if segment is not None:
                pose = _pose(segment, frame_number, size)
                frame_HWC = canvas.paste(frame_HWC, noun_picture(scene.noun), pose)
            yield frame_HWC


def _scenes_with_surroundings(video: VideoTruth) -> Iterator[tuple[Scene, int, int]]:
    """Yield every scene with the frames of its background: from the scene before to its end."""
    starts = [0, *(scene.end_frame for scene in video.scenes[:-1])]
    yield from zip(video.scenes, starts, [*starts[1:], video.frame_count], strict=True)


def _pose(segment: Segment, frame_number: int, size: float) -> Pose:
    frames_in = frame_number - segment.start_frame
    progress = frames_in / (segment.end_frame - segment.start_frame)
    pose = POSE_OF_VERB[segment.action.verb](progress, frames_in / FRAMES_PER_SECOND)
    return replace(pose, scale=size * pose.scale)


def _tint(participant_id: str) -> npt.NDArray[np.float64]:
    """Return the colour of a participant's backgrounds, the same in every demo set."""
    return np.random.default_rng(zlib.crc32(participant_id.encode())).uniform(0.5, 1.0, size=3)
