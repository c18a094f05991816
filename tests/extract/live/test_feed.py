import itertools
import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from cache_schema import ConfigError, PipelineError, SourceError, VideoError, open_store
from cache_schema.errors import RecipeMismatchError
from extract import extract, open_live, without_password
from tests.extract.tiny_models import write_model
from tests.extract.videos import constant_pts, naive_frames, write_video

BLACK = np.zeros((2, 2, 3), np.uint8)
SECRETIVE = "http://me:my@secret@127.0.0.1:9/a.ts?token=secret"
CPU = {"device": "cpu", "compute_dtype": "float32"}


def stored(path, tmp_path, name="fake", **settings):
    """Return the stream of a video that stage 1 has extracted."""
    extract(path, tmp_path / "f.zarr", encoders=name, **CPU | settings)
    return open_store(tmp_path / "f.zarr").stream()


def rows_of(feed):
    with feed:
        rows = list(feed)
    times = np.array([(row.start, row.end) for row in rows])
    return np.stack([row.values for row in rows]), times


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("fake", {}),
        ("fake", {"pooling": "grid", "store_dtype": "bfloat16"}),
        ("efficientnet_lite0", {"store_dtype": "float32"}),
        ("clip", {"store_dtype": "float32"}),
        ("videomae", {"store_dtype": "float32"}),
        ("videomae", {"stride_frames": 3, "store_dtype": "bfloat16"}),
        ("timesformer", {"stride_frames": 6}),
    ],
)
def test_a_file_gives_the_bits_that_stage_1_stores(tmp_path, model, settings):
    built_in = model in ("fake", "efficientnet_lite0")
    name = model if built_in else str(write_model(tmp_path, model)[0])
    path = write_video(tmp_path / "a.mp4", constant_pts(80))
    stream = stored(path, tmp_path, name, fps=4, **settings)
    expected = stream.read("a")
    feed = open_live(stream.recipe, path, encoder=name, device="cpu")
    values, times = rows_of(feed)
    np.testing.assert_array_equal(values, expected.values)
    # The last frame's end is known behind its row.
    np.testing.assert_array_equal(np.minimum(times, feed.end_seconds), expected.times_R2)


def test_frames_of_a_program_give_the_same_rows_with_and_without_times(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(75))
    stream = stored(path, tmp_path, fps=4)
    frames = naive_frames(path, Fraction(4))
    plain = rows_of(open_live(stream.recipe, frames))
    timed = rows_of(open_live(stream.recipe, [(i / 4, one) for i, one in enumerate(frames)]))
    for values, times in (plain, timed):
        np.testing.assert_array_equal(values, stream.read("a").values)
        np.testing.assert_array_equal(times[:, 0], stream.read("a").times_R2[:, 0])


def in_one_buffer(frames):
    """Yield one array again and again, with the next frame in it, as cameras do."""
    buffer = np.empty_like(frames[0])
    for frame in frames:
        np.copyto(buffer, frame)
        yield buffer


@pytest.mark.parametrize("fps", [4, 6])  # each frame is shown once, or some twice
def test_frames_may_come_in_one_buffer(tmp_path, fps):
    path = write_video(tmp_path / "a.mp4", constant_pts(75))
    stream = stored(path, tmp_path, fps=fps, store_dtype="float32")
    plain = naive_frames(path, Fraction(fps))
    timed = naive_frames(path, Fraction(4))
    for fresh, reused in (
        (plain, in_one_buffer(plain)),
        (
            [(i / 4, one) for i, one in enumerate(timed)],
            ((i / 4, one) for i, one in enumerate(in_one_buffer(timed))),
        ),
    ):
        expected = rows_of(open_live(stream.recipe, fresh))[0]
        assert len(np.unique(expected, axis=0)) > 5
        np.testing.assert_array_equal(rows_of(open_live(stream.recipe, reused))[0], expected)


def test_one_array_that_stays_as_it_is_is_a_still_picture(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    stream = stored(path, tmp_path, fps=4, store_dtype="float32")
    first = naive_frames(path, Fraction(4))[0]
    values, times = rows_of(open_live(stream.recipe, itertools.repeat(first, 5)))
    np.testing.assert_array_equal(values, np.repeat(stream.read("a").values[:1], 5, axis=0))
    assert times[-1].tolist() == [1.0, 1.25]


def test_a_feed_outside_of_its_block_says_so(tmp_path):
    recipe = stored(write_video(tmp_path / "a.mp4", constant_pts(30)), tmp_path).recipe
    feed = open_live(recipe, [BLACK])
    with pytest.raises(PipelineError, match=r"is not open\. Go through it in a with statement"):
        next(iter(feed))
    assert len(rows_of(feed)[0]) == 1
    with pytest.raises(PipelineError, match="is not open"):
        next(iter(feed))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, int, Fraction])
def test_seconds_may_be_numbers_of_any_kind(tmp_path, kind):
    recipe = stored(write_video(tmp_path / "a.mp4", constant_pts(30)), tmp_path, fps=4).recipe
    _, times = rows_of(open_live(recipe, [(kind(0), BLACK), (kind(2), BLACK)]))
    assert times[:, 0].tolist() == [number / 4 for number in range(9)]


def test_the_first_frame_stands_for_the_time_before_it_as_in_a_file(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    recipe = stored(path, tmp_path, fps=4).recipe
    first, second = naive_frames(path, Fraction(4))[:2]
    values, _ = rows_of(open_live(recipe, [(2.0, first), (2.5, second)]))
    expected, _ = rows_of(open_live(recipe, [first] * 10 + [second]))
    np.testing.assert_array_equal(values, expected)


def test_a_row_is_there_before_the_next_frame_is_asked_for(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    recipe = stored(path, tmp_path, fps=4).recipe
    asked = []
    frames = (asked.append(i) or np.full((32, 32, 3), i, np.uint8) for i in itertools.count())
    with open_live(recipe, frames) as feed:
        for number, row in enumerate(itertools.islice(feed, 5)):
            assert asked == list(range(number + 1))
            assert row.end == (number + 1) / 4


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([np.zeros((2, 2), np.uint8)], "a frame is uint8 \\(2, 2\\)"),
        ([(1.0, BLACK)] * 2, "times must increase"),
        ([(1e9, BLACK)], "the first frame is at 1000000000.000 s.* subtract the first"),
        ([(-3601, BLACK)], "the first frame is at -3601.000 s"),
        ([(0.0, BLACK), (3601.0, BLACK)], "at 3601.000 s follows one at 0.000 s, more than 3600"),
        ([(math.nan, BLACK)], "a frame's time is nan, expected seconds"),
        ([(np.float32("inf"), BLACK)], r"a frame's time is np.float32\(inf\), expected"),
        ([("soon", BLACK)], "a frame's time is 'soon'"),
        ([(BLACK, 0.0)], r"a frame's time is array\(.* \[\.\.\.\], expected seconds"),
        ([(0.0, BLACK, 1)], "a tuple of 3 is no frame"),
    ],
)
def test_what_is_no_frame_is_refused(tmp_path, frames, message):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    recipe = stored(path, tmp_path).recipe
    with pytest.raises(VideoError, match=message):
        rows_of(open_live(recipe, frames))


def test_a_file_in_real_time_takes_its_time(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))  # one second
    recipe = stored(path, tmp_path, fps=10).recipe
    with open_live(recipe, path, realtime=True) as feed:
        started = time.monotonic()
        arrived = [row.arrived - started for row in feed]
    assert time.monotonic() - started > 0.8
    # A tick's frame is known when the next frame is there; on a busy machine later.
    assert all(one > 0.1 * number - 0.05 for number, one in enumerate(arrived))


def test_a_machine_that_is_too_slow_drops_rows_and_says_so(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(60))  # two seconds
    recipe = stored(path, tmp_path, fps=10).recipe
    started = time.monotonic()
    with open_live(recipe, path, realtime=True) as feed:
        rows = []
        for row in feed:
            time.sleep(0.3)
            rows.append(row)
    assert feed.counts.dropped_rows > 5
    assert len(rows) + feed.counts.dropped_rows in (19, 20)
    assert time.monotonic() - started < 6  # all twenty would take longer
    assert all(b.start > a.start for a, b in itertools.pairwise(rows))


def test_what_cannot_be_opened_is_said_at_once(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    recipe = stored(path, tmp_path).recipe
    (tmp_path / "no.mp4").write_bytes(b"no video" * 100)
    for source, error, message in (
        (tmp_path / "gone.mp4", SourceError, "no such file. A live source is"),
        (tmp_path / "no.mp4", VideoError, "cannot be opened"),
        ("rtsp://127.0.0.1:9/nothing", VideoError, "cannot be opened"),
        ("/dev/video99", VideoError, "cannot be opened"),
    ):
        with pytest.raises(error, match=message), open_live(recipe, source):
            pass


def test_features_of_every_frame_have_no_rate(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    recipe = stored(path, tmp_path, fps=0).recipe
    with pytest.raises(ConfigError, match="fps 0"):
        open_live(recipe, path)


def test_another_encoder_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    recipe = stored(path, tmp_path).recipe
    other = replace(recipe, encoder=replace(recipe.encoder, weights_sha256="0" * 64))
    with pytest.raises(RecipeMismatchError, match="weights_sha256"):
        open_live(other, path)


def test_a_message_does_not_tell_the_password_of_an_address(tmp_path):
    recipe = stored(write_video(tmp_path / "a.mp4", constant_pts(30)), tmp_path).recipe
    with pytest.raises(VideoError) as told, open_live(recipe, SECRETIVE):
        pass
    assert str(told.value).startswith("http://127.0.0.1:9/a.ts: cannot be opened")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://u:p@ss@cam/x", "rtsp://cam/x"),
        ("rtsp://u:p:@@cam:554/@x", "rtsp://cam:554/@x"),
        ("https://cam/live.m3u8?token=abc&user=a@b", "https://cam/live.m3u8"),
        ("https://u:p@cam?token=abc/d", "https://cam"),
        ("https://cam/a#token", "https://cam/a"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("/dev/video0", "/dev/video0"),
        ("what?#a@b.mp4", "what?#a@b.mp4"),
        ("-", "-"),
    ],
)
def test_what_is_passed_on_of_an_address_is_no_secret(address, shown):
    assert without_password(address) == shown
