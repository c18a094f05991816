"""Numbers of runs, and which run a path means."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache_schema.errors import CheckpointError
from train.checkpoints.folder import BEST, LAST
from train.config import TrainConfig
from train.runs import chosen_run, is_run, new_run, newest_number, planned_folder


def make(root, *folders, checkpoint=LAST):
    for folder in folders:
        (root / folder / checkpoint).mkdir(parents=True)
        (root / folder / checkpoint / "run.json").touch()


def test_runs_are_numbered_from_one(tmp_path):
    base = tmp_path / "runs" / "toy"
    assert [new_run(base) for _ in range(3)] == [1, 2, 3]
    assert sorted(path.name for path in base.iterdir()) == ["1", "2", "3"]


def test_a_number_is_given_once_however_many_ask_at_one_instant(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(lambda _: new_run(tmp_path / "toy"), range(64)))
    assert sorted(numbers) == list(range(1, 65))


def test_numbers_are_compared_as_numbers_and_never_given_again(tmp_path):
    make(tmp_path, "9", "10", "job-41", "011", "latest", "٣")
    (tmp_path / "11").write_text("somebody's file")
    assert newest_number(tmp_path) == 10
    assert new_run(tmp_path) == 12


def test_no_folder_holds_no_number(tmp_path):
    assert newest_number(tmp_path / "nothing") == 0


@pytest.mark.parametrize(
    ("settings", "resume", "expected"),
    [
        ({}, False, "runs/toy/3"),
        ({}, True, "runs/toy/2"),
        ({"task": ("a", "b")}, False, "runs/a+b/1"),
        ({"task": ("a", "b")}, True, "runs/a+b/1"),
        ({"out": "x/y"}, False, "x/y"),
    ],
)
def test_where_a_run_would_lie(tmp_path, monkeypatch, settings, resume, expected):
    monkeypatch.chdir(tmp_path)
    make(Path("runs/toy"), "1", "2")
    assert planned_folder(TrainConfig(**{"task": "toy", **settings}), resume=resume) == Path(
        expected
    )
    assert not Path("runs/a+b").exists()


@pytest.mark.parametrize("name", ["toy", "toy/latest"])
def test_a_folder_of_runs_means_the_newest_with_a_checkpoint(tmp_path, name):
    make(tmp_path / "toy", "2", "9", "job-41")
    make(tmp_path / "toy", "10", checkpoint=BEST)
    (tmp_path / "toy" / "11" / "tensorboard").mkdir(parents=True)
    assert chosen_run(tmp_path / name) == tmp_path / "toy" / "10"


def test_a_run_means_itself(tmp_path):
    make(tmp_path, "1", "job-41")
    make(tmp_path / "job-41", "2")
    assert chosen_run(tmp_path / "job-41") == tmp_path / "job-41"
    assert chosen_run(tmp_path / "1") == tmp_path / "1"


def test_a_path_without_runs_is_left_to_the_reader_of_checkpoints(tmp_path):
    (tmp_path / "1").mkdir()
    assert chosen_run(tmp_path) == tmp_path
    assert chosen_run(tmp_path / "none") == tmp_path / "none"


def test_of_runs_without_a_number_one_must_be_named(tmp_path):
    make(tmp_path, "job-41", "mine")
    with pytest.raises(CheckpointError, match=r"no numbered run here .* job-41, mine"):
        chosen_run(tmp_path / "latest")


def test_a_folder_of_a_checkpoint_s_name_is_no_run(tmp_path):
    (tmp_path / "9" / BEST).mkdir(parents=True)
    make(tmp_path, "2")
    assert chosen_run(tmp_path) == tmp_path / "2"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("toy/2", True),
        ("toy/2/checkpoint-last", True),
        ("toy", True),
        ("toy/latest", True),
        ("videos", False),
        ("videos/1", False),
        ("videos/a.mp4", False),
        ("nowhere", False),
    ],
)
def test_runs_are_told_from_videos(tmp_path, place, expected):
    make(tmp_path / "toy", "2")
    (tmp_path / "videos" / "1").mkdir(parents=True)
    (tmp_path / "videos" / "a.mp4").touch()
    assert is_run(str(tmp_path / place)) is expected


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "b.webm").touch()
    with pytest.raises(CheckpointError, match=r"b\.webm: is a file, expected the folder of a run"):
        chosen_run(tmp_path / "b.webm")
