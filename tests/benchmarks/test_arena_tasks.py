import json

import numpy as np
import pytest

from benchmarks import arena_tasks, fifty_salads
from benchmarks.arena_task_videos import as_video_scores
from tests.benchmarks.test_arena import write_scores

TASK = "online_action_detection"
SHORT = ("train.optim.epochs=1", "train.tasks={online_action_detection={}}")


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    """One test video in each of two folds, and a run without an LLM of each."""
    root = tmp_path_factory.mktemp("arena")
    write_scores(root / "scores", {"a": 1, "b": 2})
    out = root / "out"
    fifty_salads.prepare.callback(root / "scores", out)
    arena_tasks.prepare.callback(root / "scores", out)
    arena_tasks.train.callback(out, TASK, "no_llm", 0, SHORT)
    return out


def test_of_one_video_the_scores_are_those_of_the_run(arena):
    (by_video,) = arena_tasks.by_video_of(arena, TASK, "no_llm")
    for fold, video in (("1", "a"), ("2", "b")):
        run = arena / "tasks" / "runs" / TASK / "no_llm-seed0" / f"fold{fold}"
        report = json.loads((run / "report.json").read_text())
        assert report["metrics"]["mAP"] > 0
        assert by_video[video] == report["metrics"]


def test_a_run_is_as_good_as_itself(arena, capsys):
    arena_tasks.compare.callback(arena, TASK, "no_llm", "no_llm")
    words = capsys.readouterr().out.split()
    assert words == [
        *("overall_action_mt5r", "+0.0000", "[+0.0000,", "+0.0000]"),
        *("mAP", "+0.0000", "[+0.0000,", "+0.0000]"),
    ]


def test_a_video_without_a_score_weighs_nothing():
    scores = as_video_scores({"a": {"mAP": 0.5}, "b": {"mAP": None}, "c": {}}, ["mAP"])
    assert scores.of_draws(np.array([[1, 1, 1], [1, 2, 0], [0, 1, 1]])).tolist() == [
        [0.5],
        [0.5],
        [0],
    ]
