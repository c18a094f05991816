"""A run's folder has one process that trains in it."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from cache_schema.errors import CheckpointError
from train.checkpoints.folder import BEST, LAST
from train.config import TrainConfig
from train.loop.parallel import make_accelerator
from train.run_folder import LOCK, begun_folder, new_folder

TRAINS = """
import fcntl, sys

with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("trains", flush=True)
    sys.stdin.read()
"""
TAKEN = "another process trains in this folder.*start another run"


@pytest.fixture
def accelerator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_accelerator("cpu")


@pytest.fixture
def held():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def other(tmp_path):
    """Another process that has what one has that trains in ``run``; torch takes it seconds."""
    (tmp_path / "run").mkdir()
    words = [sys.executable, "-c", TRAINS, str(tmp_path / "run" / LOCK)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"trains\n"
        yield process
        process.kill()


def config(out):
    return TrainConfig(task=("toy",), out=out)


@pytest.mark.parametrize("take", [new_folder, begun_folder])
def test_where_a_process_trains_another_is_refused(accelerator, held, other, take):
    with pytest.raises(CheckpointError, match=f"^run: {TAKEN}"):
        take(config("run"), accelerator, held)


def test_where_a_process_was_killed_another_goes_on(accelerator, held, other, tmp_path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "run" / LOCK).exists()
    assert str(begun_folder(config("run"), accelerator, held)) == "run"


def test_a_numbered_run_is_held_and_the_next_one_is_free(accelerator, held):
    assert str(new_folder(config(""), accelerator, held)) == "runs/toy/1"
    with pytest.raises(CheckpointError, match=f"^runs/toy/1: {TAKEN}"):
        begun_folder(config(""), accelerator, held)
    assert str(new_folder(config(""), accelerator, held)) == "runs/toy/2"


def test_a_folder_that_is_given_back_is_as_the_run_left_it(accelerator, tmp_path):
    with ExitStack() as held:
        folder = new_folder(config("run"), accelerator, held)
        (folder / "metrics.jsonl").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]
    with ExitStack() as held:
        assert begun_folder(config("run"), accelerator, held) == folder


def test_a_run_that_left_nothing_leaves_no_folder(accelerator, tmp_path):
    with ExitStack() as held:
        new_folder(config("run"), accelerator, held)
    assert not (tmp_path / "run").exists()


def test_who_waited_at_a_file_that_went_away_does_not_hold_the_folder(
    accelerator, held, tmp_path, monkeypatch
):
    def lock_what_is_gone(descriptor, how, lock=fcntl.flock):
        (tmp_path / "run" / LOCK).unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_what_is_gone)
    with pytest.raises(CheckpointError, match=TAKEN):
        new_folder(config("run"), accelerator, held)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_trains(accelerator, held, monkeypatch, code):
    def refuse(descriptor, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert str(new_folder(config("run"), accelerator, held)) == "run"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (f"{LAST}/run.json", "--resume goes on with it"),
        (f"{BEST}/run.json", "without a checkpoint to go on from. --resume starts it again there"),
        ("metrics.jsonl", "without a checkpoint to go on from. --resume starts it again there"),
    ],
)
def test_a_folder_with_a_run_is_not_begun_anew(accelerator, held, tmp_path, file, said):
    (tmp_path / "run" / file).parent.mkdir(parents=True)
    (tmp_path / "run" / file).touch()
    refused = pytest.raises(CheckpointError, match=f"^run: holds a run already.*{said}")
    with refused, ExitStack() as refusing:
        new_folder(config("run"), accelerator, refusing)
    assert str(begun_folder(config("run"), accelerator, held)) == "run"


def test_nothing_to_go_on_with_is_no_folder(accelerator, held, tmp_path):
    assert begun_folder(config("run"), accelerator, held) is None
    assert begun_folder(config(""), accelerator, held) is None
    assert not list(tmp_path.iterdir())
