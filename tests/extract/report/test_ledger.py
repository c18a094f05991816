import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cache_schema.errors import PipelineError, StoreError
from cache_schema.store import open_store
from extract.decode.process import DecoderProcess
from extract.report.ledger import Ledger, failure_of
from extract.sources.videos import VideoFile
from tests.extract.running import run
from tests.extract.videos import constant_pts, write_video


def failure(name="a", size_bytes=7, streams=("x",), error="broken"):
    video = VideoFile(id=name, path=Path(f"{name}.mp4"), size_bytes=size_bytes)
    return failure_of(video, streams, "decode", error)


APPEND = """
import sys
from dataclasses import asdict, replace
from pathlib import Path
from extract.report.ledger import Ledger, failure_of
from extract.sources.videos import VideoFile

for number in range(50):
    video = VideoFile(id=f"{sys.argv[2]}{number}", path=Path("a.mp4"), size_bytes=7)
    Ledger(Path(sys.argv[1])).append([failure_of(video, ["x"], "decode", "broken")])
"""


def test_the_last_entry_of_a_video_and_stream_stands(tmp_path):
    ledger = Ledger(tmp_path / "f.zarr")
    ledger.append([failure(streams=("x", "y")), failure("b")])
    ledger.append([failure(error="worse")])
    latest = ledger.latest()
    assert {key: entry.error for key, entry in latest.items()} == {
        ("a", "x"): "worse", ("a", "y"): "broken", ("b", "x"): "broken",
    }  # fmt: skip
    assert latest["b", "x"].size_bytes == 7


def test_several_processes_may_append_at_once(tmp_path):
    store = tmp_path / "f.zarr"
    commands = [[sys.executable, "-c", APPEND, str(store), name] for name in "ab"]
    for process in [subprocess.Popen(command) for command in commands]:
        assert process.wait() == 0
    lines = Ledger(store).path.read_text().splitlines()
    assert len([json.loads(line) for line in lines if line]) == 100
    assert len(Ledger(store).latest()) == 100


@pytest.mark.parametrize("rest", ['{"video_id": "b", "pa', "[1]\n", '{"video_id": "b"}\n', "\n"])
def test_a_line_that_is_no_entry_is_passed_over_and_ended(tmp_path, rest):
    ledger = Ledger(tmp_path / "f.zarr")
    ledger.append([failure()])
    with ledger.path.open("a") as file:
        file.write(rest)
    ledger.append([failure("c")])
    assert set(ledger.latest()) == {("a", "x"), ("c", "x")}


@pytest.fixture
def videos(tmp_path):
    write_video(tmp_path / "videos" / "good.mp4", constant_pts(30))
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    return tmp_path / "videos"


def lines(store):
    return len(Ledger(store).path.read_text().splitlines())


def test_what_failed_is_not_tried_again_but_counted_and_named(videos, tmp_path):
    store = tmp_path / "f.zarr"
    assert run(videos, store).exit_code == 3
    again = run(videos, store)
    assert (again.failures, again.exit_code, lines(store)) == ([], 3, 1)
    assert [entry.video_id for entry in again.failed_before] == ["bad"]
    assert "1 failed before and not tried again" in again.text()
    assert "failed before: bad" in again.text()
    assert again.summary()["videos_failed_before"] == 1


def test_retry_failed_tries_it_again(videos, tmp_path):
    run(videos, tmp_path / "f.zarr")
    again = run(videos, tmp_path / "f.zarr", retry_failed=True)
    assert [entry.video_id for entry in again.failures] == ["bad"]
    assert (again.failed_before, lines(tmp_path / "f.zarr")) == ([], 2)


def test_a_file_that_changed_is_tried_again_and_its_entry_no_longer_counts(videos, tmp_path):
    run(videos, tmp_path / "f.zarr")
    write_video(videos / "bad.mp4", constant_pts(30))
    again = run(videos, tmp_path / "f.zarr")
    assert (again.num_done, again.exit_code) == (1, 0)
    third = run(videos, tmp_path / "f.zarr")
    assert (third.failed_before, third.exit_code, third.num_skipped) == ([], 0, 2)


def test_an_entry_counts_for_its_own_stream_only(videos, tmp_path):
    run(videos, tmp_path / "f.zarr")
    other = run(videos, tmp_path / "f.zarr", fps=5)
    assert [entry.video_id for entry in other.failures] == ["bad"]
    streams = [
        json.loads(line)["streams"]
        for line in Ledger(tmp_path / "f.zarr").path.read_text().splitlines()
    ]
    assert streams[0] == ["fake"]
    assert streams[1][0].startswith("fake-")
    assert len(open_store(tmp_path / "f.zarr").streams) == 2


def test_an_entry_says_whether_it_stands_and_one_of_an_earlier_version_does(tmp_path):
    ledger = Ledger(tmp_path / "f.zarr")
    ledger.append([failure("a"), replace(failure("b"), stands=False)])
    old = asdict(failure("c"))
    del old["stands"]
    with ledger.path.open("a") as file:
        file.write(json.dumps(old) + "\n")
    latest = ledger.latest()
    assert {key[0]: entry.stands for key, entry in latest.items()} == {
        "a": True, "b": False, "c": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
        StoreError("s3://bucket/a.mp4: cannot be read (ExpiredToken)."),
    ],
    ids=["file system", "bucket"],
)
def test_what_could_not_be_read_is_tried_again_by_the_next_run(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    path = write_video(tmp_path / "a.mp4", constant_pts(30))
    with monkeypatch.context() as patch:
        patch.setattr("extract.sources.videos._digest", fail)
        first = run(path, tmp_path / "f.zarr")
    assert [(entry.stage, entry.stands) for entry in first.failures] == [("open", False)]
    again = run(path, tmp_path / "f.zarr")
    assert (again.num_done, again.exit_code) == (1, 0)


def test_a_decoder_that_does_not_start_ends_the_run_and_blames_no_video(
    videos, tmp_path, monkeypatch
):
    (tmp_path / "av.py").write_text("raise ImportError('no libavformat')")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(PipelineError, match="does not start"):
            run(videos, tmp_path / "f.zarr")
    assert not Ledger(tmp_path / "f.zarr").path.exists()
    assert run(videos, tmp_path / "f.zarr").num_done == 1


@pytest.fixture
def deadly(monkeypatch):
    """Have decoders die at videos of certain names."""
    defaults = DecoderProcess.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "opener", "tests.extract.decode.bad_decoders:open_bad")


def test_a_killed_decoder_is_tried_again_by_the_next_run_once_and_a_crash_is_not(
    videos, tmp_path, deadly
):
    store = tmp_path / "f.zarr"
    for name in ("killed", "segfaults"):
        shutil.copyfile(videos / "good.mp4", videos / f"{name}.mp4")
    first = {entry.video_id: entry.stands for entry in run(videos, store).failures}
    assert first == {"bad": True, "killed": False, "segfaults": True}
    again = run(videos, store)
    assert [entry.video_id for entry in again.failures] == ["killed"]
    assert [entry.video_id for entry in again.failed_before] == ["bad", "segfaults"]
    assert (again.exit_code, lines(store)) == (3, 4)
    assert "failed: killed" in again.text()
