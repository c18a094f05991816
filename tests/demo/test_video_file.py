"""The encoder: declared length and rate, equal bytes for equal frames."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from demo.video_file import write_video


def encode(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 18, 24, 3), dtype=np.uint8)
    frames = noise.repeat(4, axis=1).repeat(4, axis=2)
    write_video(path, frames, width=96, height=72, frames_per_second=15)


def test_every_frame_is_there_at_its_time(tmp_path: Path) -> None:
    encode(tmp_path / "v.mp4")
    with av.open(tmp_path / "v.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 15
        times = [Fraction(frame.time).limit_denominator(15) for frame in container.decode(video=0)]
    assert times == [Fraction(index, 15) for index in range(40)]


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4")
    encode(tmp_path / "b.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
