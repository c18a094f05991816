import io

import numpy as np
import pytest
from PIL import Image

from cache_schema.store import create_store, open_store
from cache_schema.testing import make_recipe
from extract.store_page.contact_sheet import contact_sheet
from extract.store_page.video_files import VideoFiles
from tests.extract.store_page.planted import add_file_video, noise, open_stream
from tests.extract.videos import constant_pts, read_number, write_video


@pytest.fixture
def stream(tmp_path):
    """A video of five seconds, a row at every half second."""
    path = write_video(tmp_path / "videos/a.mp4", constant_pts(150))
    with create_store(tmp_path / "stores/s.zarr") as writer:
        add_file_video(writer.stream("tiny", make_recipe(), (64,)), path, "a", noise(10, 0))
    return open_store(tmp_path / "stores/s.zarr").stream()


def test_shots_are_the_frames_that_rows_were_made_of(stream, tmp_path):
    shots = VideoFiles(tmp_path / "stores/s.zarr", stream).shots("a", [9, 0, 4], height=96)
    numbers = [read_number(np.asarray(Image.open(io.BytesIO(shot.jpeg)))) for shot in shots]
    assert numbers == [135, 0, 60]
    assert [shot.row for shot in shots] == [9, 0, 4]


def test_a_file_that_is_no_video_says_so(tmp_path):
    (tmp_path / "rows.npy").write_bytes(b"no video")
    with create_store(tmp_path / "s.zarr") as writer:
        stream = writer.stream("tiny", make_recipe(), (64,))
        add_file_video(stream, tmp_path / "rows.npy", "a", noise(3, 0))
    stream = open_store(tmp_path / "s.zarr").stream()
    (shot,) = VideoFiles(tmp_path / "s.zarr", stream).shots("a", [1], height=96)
    assert shot.jpeg is None
    assert "cannot be opened as a video" in shot.problem


def test_a_contact_sheet_shows_as_many_videos_as_it_can(tmp_path):
    videos = {f"v{k:03}": noise(30, k) for k in range(100)}
    stream = open_stream(tmp_path / "s.zarr", videos)
    files = VideoFiles(tmp_path / "s.zarr", stream)
    shots = contact_sheet(stream, files, 0, lambda count: None)
    assert len({shot.video_id for shot in shots}) == len(shots) == 48
    assert shots == contact_sheet(stream, files, 0, lambda count: None)
    assert shots != contact_sheet(stream, files, 1, lambda count: None)


def test_a_contact_sheet_of_few_rows_shows_each_once(tmp_path):
    stream = open_stream(tmp_path / "s.zarr", {"a": noise(3, 0), "b": noise(2, 1)})
    shots = contact_sheet(stream, VideoFiles(tmp_path / "s.zarr", stream), 0, lambda count: None)
    places = [(shot.video_id, shot.row) for shot in shots]
    assert places == sorted(set(places))
    assert {video for video, _ in places} == {"a", "b"}
