import io

import numpy as np
import pytest
from PIL import Image

from cache_schema.errors import VideoError
from extract.decode import pictures
from extract.decode.pictures import pictures_at, plays_in_browsers
from tests.extract.videos import (
    OPEN_GOP,
    constant_pts,
    read_number,
    turn,
    variable_pts,
    write_still,
    write_video,
)

CASES = {
    "b_frames.mp4": {"pts": constant_pts(260)},
    "open_gop.mp4": {"pts": constant_pts(200), "options": OPEN_GOP},
    "variable.mkv": {"pts": variable_pts(60)},
    "one_key_frame.ts": {"pts": variable_pts(60)},
    "late_start.mp4": {"pts": [value + 800 for value in constant_pts(40)]},
    "mpeg4.avi": {"pts": constant_pts(50, 25), "codec": "mpeg4"},
}


def number(jpeg):
    return read_number(np.asarray(Image.open(io.BytesIO(jpeg))))


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_the_frame_shown_at_its_second(tmp_path, name):
    path = write_video(tmp_path / name, **CASES[name])
    pts = [value - CASES[name]["pts"][0] for value in CASES[name]["pts"]]
    middles = [(a + b) / 2400 for a, b in zip(pts, [*pts[1:], pts[-1] + 40], strict=True)]
    expected = [index % 256 for index in range(len(pts))]
    assert [number(jpeg) for jpeg in pictures_at(path, middles)] == expected
    chosen = range(0, len(pts), 7)
    sought = [number(pictures_at(path, [middles[index]])[0]) for index in chosen]
    assert sought == [expected[index] for index in chosen]


def test_pictures_come_in_the_order_asked_for_also_twice_and_from_outside(tmp_path):
    path = write_video(tmp_path / "v.mp4", constant_pts(150))
    found = [number(jpeg) for jpeg in pictures_at(path, [4.5, 0.1, 4.5, -3.0, 1e6])]
    assert found == [135, 3, 135, 0, 149]
    assert pictures_at(path, []) == []
    assert pictures_at(str(path), [0.1]) == pictures_at(path, [0.1])


def test_without_key_frames_the_search_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_FRAMES", 100)
    endless = {"x264-params": "keyint=infinite:scenecut=0:bframes=0"}
    path = write_video(tmp_path / "v.mp4", constant_pts(240), options=endless)
    assert number(pictures_at(path, [7.0])[0]) == 99


def test_pictures_are_small_and_upright(tmp_path):
    flat = write_video(tmp_path / "flat.mp4", constant_pts(10), size=(384, 256))
    image = Image.open(io.BytesIO(pictures_at(flat, [0.0], height=64)[0]))
    assert (image.format, image.size) == ("JPEG", (96, 64))
    assert Image.open(io.BytesIO(pictures_at(flat, [0.0], height=999)[0])).size == (384, 256)
    turned = turn(flat, tmp_path / "turned.mp4")
    upright = Image.open(io.BytesIO(pictures_at(turned, [0.0], height=96)[0]))
    assert upright.size == (64, 96)
    # The same picture, turned back: bits were written for a frame of 96 x 64.
    back = upright.rotate(-90, expand=True)
    assert np.abs(np.asarray(back, float) - np.asarray(image, float)).mean() < 6


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"no video at all", "cannot be opened as a video")],
)
def test_a_file_that_is_no_video_is_an_error(tmp_path, content, message):
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=message):
        pictures_at(path, [0.0])
    assert not plays_in_browsers(path)


def test_a_still_image_and_a_file_that_is_gone_are_errors(tmp_path):
    with pytest.raises(VideoError, match="still image"):
        pictures_at(write_still(tmp_path / "v.png"), [0.0])
    with pytest.raises(VideoError, match="No such file"):
        pictures_at(tmp_path / "gone.mp4", [0.0])


@pytest.mark.parametrize(
    ("name", "settings", "plays"),
    [
        ("a.mp4", {}, True),
        ("a.mov", {}, True),
        ("a.mkv", {}, False),
        ("a.webm", {"codec": "libvpx-vp9"}, True),
        ("a.webm", {"codec": "libvpx"}, True),
        ("a.mp4", {"codec": "libvpx-vp9"}, True),
        ("a.mp4", {"codec": "mpeg4"}, False),
        ("a.mp4", {"codec": "libx265"}, False),
        ("a.mp4", {"pix_fmt": "yuv444p"}, False),
        ("a.mp4", {"pix_fmt": "yuv420p10le"}, False),
        ("a.ts", {}, False),
    ],
)
def test_whether_browsers_play_it(tmp_path, name, settings, plays):
    path = write_video(tmp_path / name, constant_pts(5), **settings)
    assert plays_in_browsers(path) is plays_in_browsers(str(path)) is plays


def test_instants_are_numbers_of_any_kind_but_finite(tmp_path):
    path = write_video(tmp_path / "v.mp4", constant_pts(30))
    assert pictures_at(path, [np.float32(0.5), 1]) == pictures_at(path, [0.5, 1.0])
    for instant in (float("nan"), float("inf")):
        with pytest.raises(VideoError, match="expected finite numbers"):
            pictures_at(path, [0.0, instant])
