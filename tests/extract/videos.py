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
    container_options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Encode one numbered frame per timestamp (in units of ``TIME_BASE``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
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


def write_audio(path: Path) -> Path:
    """Write a second of silence, without video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        samples = np.zeros((1, 16000), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_gif(path: Path, num_frames: int) -> Path:
    """Write an animated GIF of 10 frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "rgb8"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame = frame.reformat(format="rgb8")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_still(path: Path) -> Path:
    """Write one PNG picture under any name."""
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = 96, 64, "rgb24"
    codec.time_base = Fraction(1, 25)
    packets = codec.encode(av.VideoFrame.from_ndarray(numbered_frame(1), format="rgb24"))
    path.write_bytes(b"".join(bytes(packet) for packet in packets + codec.encode()))
    return path


def rewrite_timestamps(path: Path, out: Path, pts: Sequence[int]) -> Path:
    """Copy a video's packets with other presentation timestamps, in units of ``TIME_BASE``."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number, (packet, value) in enumerate(zip(packets, pts, strict=True)):
            packet.stream = stream
            packet.pts, packet.dts, packet.time_base = value, number, TIME_BASE
            target.mux(packet)
    return out


def cut(path: Path, share: float) -> Path:
    """Cut a file off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def rot(path: Path, chosen: range, num_bytes: int = 8) -> Path:
    """Flip bits in the middle of some video packets.

    Of several, since damage in one may happen to decode into another valid picture.
    """
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[chosen.start : chosen.stop]:
        middle = packet.pos + packet.size // 2
        for place in range(middle, middle + num_bytes):
            data[place] ^= 0x5A
    path.write_bytes(data)
    return path


def rename_codec(path: Path, old: bytes, new: bytes) -> Path:
    """Replace the four-letter name of an MP4's codec."""
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


def repeat(path: Path, out: Path, times: int) -> Path:
    """Copy a video without B-frames several times over, one after the other."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        step = packets[1].pts - packets[0].pts
        for number in range(times * len(packets)):
            packet = packets[number % len(packets)]
            packet.stream = stream
            packet.pts = packet.dts = number * step
            packet.time_base = source.streams.video[0].time_base
            target.mux(packet)
    return out


QUARTER = (0, -1, 1, 0)
"""A quarter turn counter-clockwise, as ``turn`` takes it."""


def turn(path: Path, out: Path, matrix: tuple[int, int, int, int] = QUARTER) -> Path:
    """Copy an MP4 with a display matrix (a b, c d) in its track's header."""
    data = bytearray(path.read_bytes())
    one, zero = (0x10000).to_bytes(4), bytes(4)
    found = data.index(one + zero * 3 + one + zero * 3 + b"\x40\x00\x00\x00", data.index(b"tkhd"))
    a, b, c, d = ((value * 0x10000).to_bytes(4, signed=True) for value in matrix)
    data[found : found + 20] = a + b + zero + c + d
    out.write_bytes(data)
    with av.open(str(out)) as container:
        told = next(container.decode(video=0)).side_data.get("DISPLAYMATRIX")
    upright = matrix == (1, 0, 0, 1)
    assert (told is None) == upright, "FFmpeg tells nothing of what is upright"
    return out


def add_silence(path: Path, out: Path, seconds: int) -> Path:
    """Copy a video's packets, with a sound of so many seconds between them."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("pcm_s16le", rate=8000, layout="mono")
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets:
            packet.stream = video
        for number in range(seconds):
            samples = np.zeros((1, 8000), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, 8000 * number
            packets.extend(sound.encode(frame))
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            target.mux(packet)
    return out
