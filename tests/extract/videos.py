"""Small videos whose frames tell their own number, for every timing a test needs."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TIME_BASE = Fraction(1, 1200)
"""Holds 24, 25, 30 and 60 fps exactly."""


def numbered_frame(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Return an RGB image whose left half spells ``number`` in 8 bits, over a moving gradient."""
    ramp = (np.arange(width)[None, :] * 2 + np.arange(height)[:, None] + 3 * number) % 256
    image = np.repeat(ramp[:, :, None].astype(np.uint8), 3, axis=2)
    for bit in range(8):
        row, column = divmod(bit, 4)
        box = image[row * 32 : row * 32 + 32, column * 12 : column * 12 + 12]
        box[...] = 235 if number >> bit & 1 else 20
    return image


def read_number(image: np.ndarray) -> int:
    """Return the number that ``numbered_frame`` wrote."""
    bits = [
        image[row * 32 + 8 : row * 32 + 24, column * 12 + 3 : column * 12 + 9].mean() > 128
        for row, column in (divmod(bit, 4) for bit in range(8))
    ]
    return sum(1 << bit for bit, is_set in enumerate(bits) if is_set)


def write_video(
    path: Path,
    pts: Sequence[int],
    *,
    codec: str = "libx264",
    rate: int = 30,
    size: tuple[int, int] = (96, 64),
    options: dict[str, str] | None = None,
) -> Path:
    """Encode one numbered frame per timestamp (in units of ``TIME_BASE``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.thread_count = 1
        for number, value in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number % 256, *size), format="rgb24")
            frame.pts, frame.time_base = value, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def constant_pts(num_frames: int, fps: int = 30) -> list[int]:
    """Return timestamps of a constant frame rate."""
    return [number * int(1 / TIME_BASE) // fps for number in range(num_frames)]


def variable_pts(num_frames: int, seed: int = 0) -> list[int]:
    """Return timestamps with gaps from 1/60 s to half a second."""
    gaps = np.random.default_rng(seed).choice([20, 40, 50, 600], size=num_frames - 1)
    return [0, *np.cumsum(gaps).tolist()]


OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}


def naive_frames(path: Path, fps: Fraction) -> list[np.ndarray]:
    """Decode everything, then pick for every tick the last frame at or before it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        zero = Fraction(stream.start_time or 0) * stream.time_base
        frames = [
            (
                frame.pts * frame.time_base - zero,
                frame.duration * frame.time_base,
                frame.to_ndarray(format="rgb24"),
            )
            for frame in container.decode(stream)
        ]
    frames.sort(key=lambda item: item[0])
    end = frames[-1][0] + frames[-1][1]
    picked = []
    tick = Fraction(0)
    while tick < end or not picked:
        shown = [image for seconds, _, image in frames if seconds <= tick]
        picked.append(shown[-1] if shown else frames[0][2])
        tick += 1 / fps
    return picked
