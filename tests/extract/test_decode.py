from fractions import Fraction

import numpy as np
import pytest

from cache_schema.errors import VideoError
from extract.decode import VideoFacts, probe, sample_frames
from extract.open_video import open_video
from tests.extract.videos import (
    OPEN_GOP,
    constant_pts,
    naive_frames,
    read_number,
    variable_pts,
    write_video,
)

CASES = {
    "constant": {"pts": constant_pts(75)},
    "variable": {"pts": variable_pts(60)},
    "open_gop": {"pts": constant_pts(90), "options": OPEN_GOP},
    "late_start": {"pts": [value + 800 for value in constant_pts(40)]},
    "mpeg4_b_frames": {"pts": constant_pts(50, 25), "codec": "mpeg4", "options": {"bf": "2"}},
}


def ticks(path, fps, backend="pyav"):
    facts: list[VideoFacts] = []
    frames = list(sample_frames(open_video(path, backend), fps, facts))
    return [frame.rgb for frame in frames for _ in range(frame.num_ticks)], facts[0]


@pytest.fixture(params=CASES, scope="module")
def video(request, tmp_path_factory):
    return write_video(tmp_path_factory.mktemp(request.param) / "v.mp4", **CASES[request.param])


@pytest.mark.parametrize("fps", [Fraction(2), Fraction(7), Fraction(30000, 1001), Fraction(1, 3)])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_sampled_frames_equal_decoding_everything_and_picking_by_time(video, fps, backend):
    expected = naive_frames(video, fps)
    got, _ = ticks(video, fps, backend)
    assert [read_number(image) for image in got] == [read_number(image) for image in expected]
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_every_frame_is_taken_without_a_rate(tmp_path):
    path = write_video(tmp_path / "v.mp4", variable_pts(20))
    got, facts = ticks(path, None)
    assert [read_number(image) for image in got] == list(range(20))
    assert facts.num_frames == 20
    assert facts.frame_seconds == pytest.approx([value / 1200 for value in variable_pts(20)])


def test_facts_describe_the_video(tmp_path):
    _, facts = ticks(write_video(tmp_path / "v.mp4", constant_pts(45)), Fraction(2))
    assert (facts.num_frames, facts.width, facts.height) == (45, 96, 64)
    assert facts.duration_seconds == pytest.approx(1.5)
    assert facts.fps == 30
    assert facts.decoder.startswith("pyav ")


def test_decord_reads_a_plain_file_and_leaves_open_doubts_to_pyav(tmp_path):
    plain = write_video(tmp_path / "a.mp4", constant_pts(30))
    assert ticks(plain, Fraction(2), "decord")[1].decoder.startswith("decord ")
    transport = write_video(tmp_path / "b.ts", constant_pts(30))
    assert ticks(transport, Fraction(2), "decord")[1].decoder.startswith("pyav ")


def test_decord_is_not_asked_to_hold_more_than_its_bound(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    monkeypatch.setattr("extract.decord_source.MAX_BYTES", 29 * 96 * 64 * 3)
    assert ticks(path, Fraction(2), "decord")[1].decoder.startswith("pyav ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"this is no video", "cannot be opened as a video"),
        ("empty.mp4", b"", "cannot be opened as a video"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message):
        probe(tmp_path / name)


def test_a_truncated_file_fails_instead_of_ending_early(tmp_path):
    path = write_video(tmp_path / "v.mp4", constant_pts(150), options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VideoError):
        ticks(path, Fraction(2))
