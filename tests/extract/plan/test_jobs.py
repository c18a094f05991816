import os
from dataclasses import replace
from pathlib import Path

import pytest

from cache_schema.store import create_store, open_store
from cache_schema.testing import make_recipe, make_rows, make_times, make_video
from extract.decode.process import DecoderProcess
from extract.plan.jobs import plan_jobs
from extract.sources.videos import content_digest, find_videos
from tests.extract.videos import constant_pts, write_video

STREAM = "fake"


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "short.mp4", constant_pts(15))
    write_video(tmp_path / "videos" / "long.mp4", constant_pts(60))
    return tmp_path / "videos"


def commit(store: Path, video_id: str, path: Path):
    """Commit one row for a file, as extraction would."""
    writer = create_store(store)
    stream = writer.stream(STREAM, make_recipe(), (4,))
    stream.append(make_rows(1))
    record = replace(
        make_video(video_id),
        path=str(path),
        digest=content_digest(path),
        size_bytes=path.stat().st_size,
    )
    stream.commit(record, make_times(1))
    writer.close()


def plan(videos, store=None):
    opened = open_store(store) if store else None
    with DecoderProcess() as decoder:
        return plan_jobs(find_videos([str(videos)]), [STREAM], opened, decoder=decoder)


def test_everything_is_to_do_without_a_store_longest_first(videos):
    assert [job.video.id for job in plan(videos).jobs] == ["long", "short"]


def test_a_committed_video_is_skipped(videos, tmp_path):
    commit(tmp_path / "f.zarr", "long", videos / "long.mp4")
    result = plan(videos, tmp_path / "f.zarr")
    assert [job.video.id for job in result.jobs] == ["short"]
    assert result.num_complete == 1


def test_a_moved_file_is_not_extracted_again(videos, tmp_path):
    commit(tmp_path / "f.zarr", "old/name", videos / "long.mp4")
    result = plan(videos, tmp_path / "f.zarr")
    assert [job.video.id for job in result.jobs] == ["short"]
    assert result.moved == [("long", "old/name")]


def test_a_copy_beside_its_original_gets_rows_of_its_own(videos, tmp_path):
    commit(tmp_path / "f.zarr", "long", videos / "long.mp4")
    (videos / "copy.mp4").write_bytes((videos / "long.mp4").read_bytes())
    assert {job.video.id for job in plan(videos, tmp_path / "f.zarr").jobs} == {"copy", "short"}


def test_a_changed_file_fails_and_names_the_way_out(videos, tmp_path):
    commit(tmp_path / "f.zarr", "long", videos / "long.mp4")
    write_video(videos / "long.mp4", constant_pts(61))
    (failure,) = plan(videos, tmp_path / "f.zarr").failures
    assert failure.video_id == "long"
    assert "has changed since it was extracted" in failure.error


def test_another_video_of_the_same_id_and_size_is_not_taken_for_the_stored_one(videos, tmp_path):
    commit(tmp_path / "f.zarr", "long", videos / "long.mp4")
    (tmp_path / "other").mkdir()
    data = (videos / "long.mp4").read_bytes()
    (tmp_path / "other" / "long.mp4").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    result = plan(tmp_path / "other", tmp_path / "f.zarr")
    assert (result.jobs, result.num_complete) == ([], 0)
    (failure,) = result.failures
    assert f"the store holds under this id, which lay at {videos}/long.mp4" in failure.error
    assert "Name the folder that both are in" in failure.error


def test_a_folder_that_was_moved_is_complete(videos, tmp_path):
    for name in ("long", "short"):
        commit(tmp_path / "f.zarr", name, videos / f"{name}.mp4")
    videos.rename(tmp_path / "moved")
    result = plan(tmp_path / "moved", tmp_path / "f.zarr")
    assert (result.jobs, result.num_complete, result.moved) == ([], 2, [])


def test_a_file_of_the_stored_place_and_size_is_not_read(videos, tmp_path, monkeypatch):
    commit(tmp_path / "f.zarr", "long", videos / "long.mp4")
    (videos / "short.mp4").unlink()
    monkeypatch.setattr("extract.plan.jobs.content_digest", None)
    monkeypatch.chdir(tmp_path)
    for typed in (videos, Path("videos"), "../" + tmp_path.name + "/videos"):
        assert plan(typed, tmp_path / "f.zarr").num_complete == 1


def test_what_cannot_be_opened_fails_without_stopping_the_plan(videos):
    (videos / "text.mp4").write_text("no video")
    result = plan(videos)
    assert [failure.video_id for failure in result.failures] == ["text"]
    assert len(result.jobs) == 2


def test_a_name_that_is_no_text_fails_by_itself(videos):
    data = (videos / "long.mp4").read_bytes()
    Path(os.fsdecode(os.fsencode(videos) + b"/bad\xff.mp4")).write_bytes(data)
    result = plan(videos)
    assert [(failure.video_id, failure.error) for failure in result.failures] == [
        ("bad\\udcff", "its name is not valid UTF-8. Rename the file.")
    ]
    assert len(result.jobs) == 2
