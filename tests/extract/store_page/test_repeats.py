import numpy as np
import pytest

from cache_schema.store import create_store, open_store
from cache_schema.testing import make_recipe
from extract.store_page.repeats import find_repeats, num_black
from extract.store_page.rows import look_at, plan_spans
from extract.store_page.video_files import VideoFiles
from tests.extract.store_page.planted import (
    NUM_DIMS,
    add_file_video,
    noise,
    open_stream,
    write_grey_video,
)

BLACK_ROW = np.linspace(-1, 1, NUM_DIMS).astype(np.float32)
LOGO_ROW = np.linspace(1, -1, NUM_DIMS).astype(np.float32) ** 3
LEVELS = {0: BLACK_ROW, 200: LOGO_ROW}


def find(stream, folder):
    looked = look_at(stream, plan_spans(stream, 0), 0, lambda count: None)
    repeats = find_repeats(looked, VideoFiles(folder / "s.zarr", stream))
    black = num_black(repeats, looked)
    return repeats, None if black is None else dict(zip(looked.video_ids, black, strict=True))


@pytest.fixture
def greys(tmp_path):
    """Three videos that begin black, show a light logo and then what differs."""
    with create_store(tmp_path / "s.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (NUM_DIMS,))
        for seed, (name, num_black_rows) in enumerate({"a": 3, "b": 1, "c": 0}.items()):
            levels = [0] * num_black_rows + [200, 200, 90, 91, 92, 93]
            path = write_grey_video(tmp_path / f"{name}.mp4", levels)
            rows = noise(len(levels), seed)
            for row, level in enumerate(levels):
                rows[row] = LEVELS.get(level, rows[row])
            add_file_video(stream, path, name, rows)
    return open_store(tmp_path / "s.zarr").stream()


def test_black_rows_are_those_whose_frame_is_black(greys, tmp_path):
    repeats, black = find(greys, tmp_path)
    assert black == {"a": 3, "b": 1, "c": 0}
    assert [(len(one.rows_C), one.num_videos, one.is_black) for one in repeats] == [
        (6, 3, False),  # the logo, of most videos
        (4, 2, True),
    ]
    assert repeats[0].luma == pytest.approx(200, abs=3)
    assert repeats[1].luma < 3
    assert repeats[1].shot.jpeg is not None


def test_of_a_group_the_brightest_frame_that_was_looked_at_decides(greys, tmp_path):
    # The file of b now shows something else where its row is the black one.
    size = (tmp_path / "b.mp4").stat().st_size
    path = write_grey_video(tmp_path / "b.mp4", [120] * 7)
    with path.open("ab") as file:
        file.write(bytes(size - path.stat().st_size))
    repeats, black = find(greys, tmp_path)
    assert not any(one.is_black for one in repeats)
    assert set(black.values()) == {0}


def test_without_files_nobody_knows_which_rows_are_black(greys, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp4").unlink()
    repeats, black = find(greys, tmp_path)
    assert black is None
    assert repeats[0].luma is None
    assert "not where it was" in repeats[0].shot.problem


def test_rows_that_differ_a_little_come_again_and_others_do_not(tmp_path):
    near = noise(1, 5) * (1 + 0.0005 * np.random.default_rng(0).standard_normal((8, 1)))
    stream = open_stream(tmp_path / "s.zarr", {"a": noise(60, 1), "b": near, "c": noise(60, 2)})
    repeats, _ = find(stream, tmp_path)
    assert [(len(one.rows_C), one.shot.video_id) for one in repeats] == [(8, "b")]


def test_where_no_row_comes_again_none_is_black(tmp_path):
    stream = open_stream(tmp_path / "s.zarr", {"a": noise(60, 1)})
    assert find(stream, tmp_path) == ([], {"a": 0})
