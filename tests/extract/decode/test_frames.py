from fractions import Fraction

import numpy as np
import pytest

from cache_schema.errors import VideoError
from extract.decode.backends import open_video
from extract.decode.frames import VideoFacts, sample_frames
from extract.decode.pyav_source import probe
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
    return [frame.pixels for frame in frames for _ in range(frame.num_ticks)], facts[0]


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
    assert len(facts.frame_seconds) == 0  # only kept where every frame is taken


def test_decord_reads_a_plain_file_and_leaves_open_doubts_to_pyav(tmp_path):
    plain = write_video(tmp_path / "a.mp4", constant_pts(30))
    assert ticks(plain, Fraction(2), "decord")[1].decoder.startswith("decord ")
    transport = write_video(tmp_path / "b.ts", constant_pts(30))
    assert ticks(transport, Fraction(2), "decord")[1].decoder.startswith("pyav ")


@pytest.mark.parametrize(
    ("settings", "decoder"),
    [
        # It gives 6 channels at this width, which shows only once it has decoded.
        ({"size": (16, 16)}, "decord 0.6.0, pyav"),
        ({"pix_fmt": "yuv420p10le"}, "pyav"),
        ({"pix_fmt": "yuv444p", "size": (97, 65)}, "pyav"),
    ],
)
def test_what_decord_reads_otherwise_is_left_to_pyav(tmp_path, settings, decoder):
    path = write_video(tmp_path / "a.mp4", constant_pts(30), **settings)
    got, facts = ticks(path, Fraction(2), "decord")
    expected, _ = ticks(path, Fraction(2))
    assert facts.decoder.startswith(decoder)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_header_that_declares_an_absurd_rate_is_not_believed(tmp_path, backend):
    path = write_video(tmp_path / "v.mkv", constant_pts(31), rate=1000)
    _, facts = ticks(path, Fraction(2), backend)
    assert float(facts.fps) == pytest.approx(30, rel=1e-3)
    assert facts.duration_seconds == pytest.approx(31 / 30, abs=2e-3)


def test_decord_is_not_asked_to_hold_more_than_its_bound(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    monkeypatch.setattr("extract.decode.decord_source.MAX_BYTES", 29 * 96 * 64 * 3)
    assert ticks(path, Fraction(2), "decord")[1].decoder.startswith("pyav ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.mp4", b"this is no video", "cannot be opened as a video.*It is no video, or"),
        ("empty.mp4", b"", r"is empty \(0 bytes\)"),
        ("gone.mp4", None, "cannot be opened as a video: No such file or directory"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message):
        probe(tmp_path / name)


def test_a_truncated_file_fails_instead_of_ending_early(tmp_path):
    path = write_video(tmp_path / "v.mp4", constant_pts(150), options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VideoError):
        ticks(path, Fraction(2))


class Frames:
    """Frames at any times."""

    decoder = "fake 1"
    fps = Fraction(25)
    size = (2, 2)

    def __init__(self, seconds, last_duration=Fraction(1, 25)):
        self.seconds = [Fraction(second) for second in seconds]
        self.last_duration = last_duration

    def __iter__(self):
        for second in self.seconds:
            yield second, lambda: np.zeros((2, 2, 3), np.uint8)

    def end_seconds(self, last_seconds):
        return last_seconds + self.last_duration


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Frames([0, 1, 1]), r"do not increase: frame 2 at 1\.000 s follows 1\.000 s"),
        (Frames([0, 2, 1]), r"do not increase: frame 2 at 1\.000 s follows 2\.000 s"),
        (Frames([0, 3 * 10**17]), r"from 0\.000 s they jump to 3e\+17 s"),
        (Frames([0, 3000, 6601]), r"from 3000\.000 s they jump to 6601 s"),
        (Frames([10**6, 10**6 + 1]), r"from 0\.000 s they jump to 1e\+06 s"),
        (Frames([-(10**6), 0]), r"they jump to -1e\+06 s"),
        (Frames([0, 1], Fraction(10**9)), r"from 1\.000 s they jump to 1e\+09 s"),
        (Frames([0, "1/90000", "2/90000"]), r"impossible frame rate: 3 frames within 0\.000022 s"),
        (Frames([]), r"no frame could be decoded\. Get the file again"),
    ],
)
def test_times_that_no_video_has_are_refused(source, message):
    with pytest.raises(VideoError, match=message):
        list(sample_frames(source, Fraction(2), []))


def test_frames_before_zero_and_an_hour_of_one_frame_are_fine():
    facts: list[VideoFacts] = []
    frames = list(sample_frames(Frames([-1, 0, 3600]), Fraction(1), facts))
    assert [frame.num_ticks for frame in frames] == [3600, 1]
    assert facts[0].num_frames == 3


def test_gaps_of_nearly_an_hour_may_follow_each_other():
    facts: list[VideoFacts] = []
    list(sample_frames(Frames([0, 3000, 6600, 10200]), Fraction(1), facts))
    assert facts[0].num_frames == 4


def test_every_decoded_frame_is_reported_sampled_or_not():
    calls: list[int] = []
    list(sample_frames(Frames(range(5)), Fraction(1, 3), [], lambda: calls.append(1)))
    assert len(calls) == 5
