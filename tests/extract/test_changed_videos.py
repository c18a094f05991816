"""Videos that change between planning and the end of their extraction."""

import os
import shutil
from fractions import Fraction

import pytest

from cache_schema.store import open_store
from extract.decode.process import DecoderProcess
from extract.report.ledger import Ledger
from extract.sources.videos import content_digest
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video

CHANGED = "changed while it was being extracted"


@pytest.fixture
def videos(tmp_path):
    """Return a folder of two videos, the longer one of which is extracted first."""
    write_video(tmp_path / "videos" / "a.mp4", constant_pts(90))
    write_video(tmp_path / "videos" / "b.mp4", constant_pts(30))
    return tmp_path / "videos"


@pytest.fixture
def meanwhile(monkeypatch):
    """Return a function that has something done once, when the first video is decoded."""

    def arrange(change):
        honest, changes = DecoderProcess.decode, [change]

        def decode(*args, **kwargs):
            if changes:
                changes.pop()()
            return honest(*args, **kwargs)

        monkeypatch.setattr(DecoderProcess, "decode", decode)

    return arrange


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_a_video_that_is_replaced_gets_no_rows_and_the_next_run_takes_what_is_there(
    videos, meanwhile, tmp_path, suffix
):
    store = tmp_path / f"f.{suffix}"
    other = write_video(tmp_path / "other.mp4", constant_pts(60))
    meanwhile(lambda: other.replace(videos / "b.mp4"))
    report = run(videos, store)
    assert [(f.video_id, f.stands) for f in report.failures] == [("b", False)]
    assert report.failures[0].error == f"{CHANGED}. Run the same command again."
    assert open_store(store).stream().video_ids == ["a"]
    again = run(videos, store)
    assert (again.num_done, again.exit_code) == (1, 0)
    record = open_store(store).stream().commit("b").video
    assert (record.digest, record.num_frames) == (content_digest(videos / "b.mp4"), 60)
    assert record.size_bytes == (videos / "b.mp4").stat().st_size


def test_a_video_written_over_with_as_many_bytes_is_another_one(videos, meanwhile, tmp_path):
    whole = (videos / "b.mp4").read_bytes()
    (videos / "b.mp4").write_bytes(bytes(len(whole)))  # as of a copy that has just begun
    broken = run(videos, tmp_path / "other.zarr")
    assert [f.stands for f in broken.failures] == [True]
    (videos / "b.mp4").write_bytes(whole)
    meanwhile(lambda: (videos / "b.mp4").write_bytes(bytes(len(whole))))
    assert [f.stands for f in run(videos, tmp_path / "f.zarr").failures] == [False]
    (videos / "b.mp4").write_bytes(whole)
    assert run(videos, tmp_path / "f.zarr").exit_code == 0


def test_a_video_that_is_gone_says_so_and_does_not_stand(videos, meanwhile, tmp_path):
    meanwhile((videos / "b.mp4").unlink)
    (failure,) = run(videos, tmp_path / "f.zarr").failures
    assert f"{CHANGED}: it cannot be read: No such file" in failure.error
    (entry,) = Ledger(tmp_path / "f.zarr").latest().values()
    assert not entry.stands


def test_a_copy_with_the_same_bytes_is_the_same_video(videos, meanwhile, tmp_path):
    def copy():
        shutil.copyfile(videos / "b.mp4", tmp_path / "copy.mp4")
        os.utime(tmp_path / "copy.mp4", (1, 1))
        (tmp_path / "copy.mp4").replace(videos / "b.mp4")

    meanwhile(copy)
    assert run(videos, tmp_path / "f.zarr").exit_code == 0


def test_workers_look_again_too(videos, monkeypatch, tmp_path):
    import extract.workers.dispatch as dispatch

    other, honest = write_video(tmp_path / "other.mp4", constant_pts(60)), dispatch.bundle_jobs

    def bundle_jobs(*args):
        other.replace(videos / "b.mp4")
        return honest(*args)

    monkeypatch.setattr(dispatch, "bundle_jobs", bundle_jobs)
    report = run(videos, tmp_path / "f.zarr", workers=2)
    assert [(f.video_id, f.stands) for f in report.failures] == [("b", False)]
    assert CHANGED in report.failures[0].error


def test_a_file_that_grew_since_it_was_listed_is_noted_with_the_size_it_has(
    videos, monkeypatch, tmp_path
):
    import extract.run

    other, honest = write_video(tmp_path / "other.mp4", constant_pts(60)), extract.run.find_videos

    def find_videos(inputs):
        found = honest(inputs)
        if other.exists():
            other.replace(videos / "b.mp4")
        return found

    monkeypatch.setattr(extract.run, "find_videos", find_videos)
    assert run(videos, tmp_path / "f.zarr", fps=Fraction(2)).exit_code == 0
    record = open_store(tmp_path / "f.zarr").stream().commit("b").video
    assert record.size_bytes == (videos / "b.mp4").stat().st_size
