import os
import shutil

import pytest
import torch
from click.testing import CliRunner

from cache_schema.errors import StoreError
from cache_schema.proof.report import Problem
from cache_schema.store import open_store
from extract.sources.videos import content_digest
from extract.tools.cli import store_command
from extract.tools.recompute import recompute_rows
from tests.extract.running import extract
from tests.extract.videos import write_video

ROWS = {"a": 8, "b": 6}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """Two videos of 4 and 3 seconds, at two rows a second."""
    folder = tmp_path_factory.mktemp("extracted")
    for name, rows in ROWS.items():
        write_video(folder / f"videos/{name}.mp4", [40 * k for k in range(15 * rows)])
    extract(folder / "videos", folder / "s.zarr")
    return folder


@pytest.fixture
def stream(extracted):
    """The stream, with its videos as they were; a test may change their files."""
    videos = extracted / "videos"
    shutil.copytree(videos, extracted / "kept")
    yield open_store(extracted / "s.zarr").stream()
    shutil.rmtree(videos)
    (extracted / "kept").rename(videos)


def test_all_rows_of_unchanged_videos_are_made_again(stream):
    again = recompute_rows(stream, 100)
    found = {video: sum(row.video_id == video for row in again.rows) for video in ROWS}
    assert (found, again.problems) == (ROWS, [])
    assert all(row.ok for row in again.rows)


def test_rows_of_a_network_have_the_same_bits_again(extracted, tmp_path):
    """In a batch of another size, or on several threads, their last bits would be others."""
    made = {"encoders": ("efficientnet_lite0",), "device": "cpu", "store_dtype": "float32"}
    extract(extracted / "videos", tmp_path / "n.zarr", **made)
    again = recompute_rows(open_store(tmp_path / "n.zarr").stream(), 11)
    assert [row.max_abs for row in again.rows] == [0.0] * 11


def test_a_row_that_is_no_number_again_is_none_of_the_same(stream, monkeypatch):
    monkeypatch.setattr(
        "extract.encode.encoders.fake.FakeEncoder.encode",
        lambda self, pixels_BFCHW: torch.full((len(pixels_BFCHW), *self.row_shape), torch.nan),
    )
    again = recompute_rows(stream, 100)
    assert [row.ok for row in again.rows] == [False] * sum(ROWS.values())


def test_a_video_replaced_by_a_shorter_one_is_named_and_the_others_are_gone_on_with(
    extracted, stream
):
    path = extracted / "videos" / "a.mp4"
    write_video(path, [40 * k for k in range(30)])
    recorded = stream.commit("a").video
    again = recompute_rows(stream, 100)
    assert again.problems == [
        Problem(
            stream="fake",
            video="a",
            what=f"its file {path} was changed since its rows were made: its digest is "
            f"{content_digest(path)}, recorded is {recorded.digest}. Put the old file back, or "
            "extract into a new store.",
        )
    ]
    assert [row.video_id for row in again.rows] == ["b"] * ROWS["b"]


def test_a_video_that_is_gone_is_named_and_the_others_are_gone_on_with(extracted, stream):
    (extracted / "videos" / "b.mp4").unlink()
    again = recompute_rows(stream, 100)
    (problem,) = again.problems
    assert (problem.video, "is not there any more" in problem.what) == ("b", True)
    assert [row.video_id for row in again.rows] == ["a"] * ROWS["a"]


def test_rows_the_same_file_does_not_make_any_more_are_named(stream, monkeypatch):
    monkeypatch.setattr("extract.tools.recompute.sample_frames", lambda *_: iter(()))
    again = recompute_rows(stream, 100)
    assert [problem.video for problem in again.problems] == ["a", "b"]
    assert "is the same and makes no row 0 any more, of 8 that are stored" in again.problems[0].what


def test_the_command_names_changed_videos_and_ends_with_1(extracted, stream):
    path = extracted / "videos" / "a.mp4"
    os.truncate(path, path.stat().st_size // 2)
    command = ["verify", str(extracted / "s.zarr"), "--recompute", "100"]
    result = CliRunner().invoke(store_command, command)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith(f"PROBLEM: fake / a: its file {path} was changed since")
    assert [line[:7] for line in lines[1:-1]] == ["same: b"] * ROWS["b"]
    assert lines[-1] == "2 videos, 14 rows checked; 6 rows made again: 1 problems."


def test_who_has_some_of_the_videos_has_rows_of_those_made_again(stream, tmp_path, extracted):
    """As who got the store from others: the recorded paths lead nowhere."""
    (tmp_path / "mine").mkdir()
    (extracted / "videos" / "b.mp4").rename(tmp_path / "mine" / "renamed.mp4")
    (extracted / "videos" / "a.mp4").unlink()
    again = recompute_rows(stream, 100, videos=tmp_path / "mine")
    assert [row.video_id for row in again.rows] == ["b"] * ROWS["b"]
    assert (again.problems, all(row.ok for row in again.rows)) == ([], True)


def test_of_the_folder_given_a_file_with_the_name_of_a_video_has_to_be_that_video(stream, tmp_path):
    write_video(tmp_path / "a.mp4", [40 * k for k in range(30)])
    again = recompute_rows(stream, 5, videos=tmp_path)
    (problem,) = again.problems
    assert (problem.video, again.rows) == ("a", [])
    assert f"its file {tmp_path / 'a.mp4'} was changed since" in problem.what


def test_a_folder_with_none_of_the_videos_is_told(stream, tmp_path):
    write_video(tmp_path / "other.mp4", [40 * k for k in range(30)])
    with pytest.raises(StoreError, match="has none of the 2 videos of stream 'fake'"):
        recompute_rows(stream, 5, videos=tmp_path)


def test_the_command_takes_the_folder(extracted, stream, tmp_path):
    shutil.copy(extracted / "videos" / "a.mp4", tmp_path)
    command = ["verify", str(extracted / "s.zarr"), "--recompute", "3", "--videos", str(tmp_path)]
    result = CliRunner().invoke(store_command, command)
    assert (result.exit_code, result.output.count("same: a")) == (0, 3)
