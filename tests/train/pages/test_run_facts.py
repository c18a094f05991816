import os

import pytest

from cache_schema.errors import CheckpointError
from tests.train.pages.run_folders import (
    checkpoint_of,
    config_of,
    log_of,
    result_of,
    step,
    write_log,
    write_run,
)
from train.pages.run_facts import read_runs


def test_a_finished_run_has_the_scores_of_its_result(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(), result=result_of())
    (run,) = read_runs([folder])
    assert run.scores == {"toy": {"accuracy": 60.0}}
    assert run.baselines == {"toy": {"chance": {"accuracy": 33.0}}}
    assert (run.name, run.best_step, run.main_metric("toy")) == ("run", 2, "accuracy")
    assert run.changed.isoformat() == "2026-01-02T03:04:00+00:00"


def test_a_run_that_goes_on_has_those_of_its_best_epoch_so_far(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(best_epoch=1))
    (run,) = read_runs([folder])
    assert run.scores == {"toy": {"accuracy": 50.0}}
    assert (run.result, run.baselines, run.extraction) == (None, {"toy": {}}, ())


def test_a_run_before_its_first_checkpoint_has_its_log(tmp_path):
    write_log(tmp_path / "run", [step(1, 1, 2.0)])
    (run,) = read_runs([tmp_path / "run"])
    assert (run.checkpoint, run.tasks, run.scores, run.best_step) == (None, (), {}, None)
    assert run.log.num_steps == 1


def test_several_tasks_of_a_run_are_told_apart(tmp_path):
    config = config_of(("one", "two"))
    metrics = {"one/Acc": 1.0, "two/Acc": 2.0, "two/F1": None}
    result = result_of(
        metrics=metrics,
        baselines={"chance": {"one/Acc": 0.1, "two/Acc": 0.2, "two/F1": 0.3}},
        main_metrics={"one": "Acc", "two": "F1"},
        lower_is_better={"one": (), "two": ("F1",)},
    )
    folder = write_run(
        tmp_path / "run", checkpoint=checkpoint_of(config), entries=log_of([metrics]), result=result
    )
    (run,) = read_runs([folder])
    assert run.scores == {"one": {"Acc": 1.0}, "two": {"Acc": 2.0, "F1": None}}
    assert run.baselines["two"] == {"chance": {"Acc": 0.2, "F1": 0.3}}
    assert [run.lower_is_better(task, "F1") for task in run.tasks] == [False, True]


def test_what_a_task_says_of_its_metrics_is_known_without_a_result(tmp_path):
    config = config_of(("action_segmentation", "long_term_anticipation", "not_installed"))
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(config))
    (run,) = read_runs([folder])
    # The second one's depends on its options.
    assert [run.main_metric(task) for task in run.tasks] == ["F1@0.25", None, None]
    assert [run.lower_is_better(task, "Edit") for task in run.tasks] == [False, True, False]


def test_names_are_the_shortest_ends_that_differ(tmp_path):
    def names(*places):
        for place in places:
            if not (tmp_path / place).exists():
                write_run(tmp_path / place, checkpoint=checkpoint_of())
        return [run.name for run in read_runs([tmp_path / place for place in places])]

    assert names("runs/toy/1", "runs/toy/2") == ["toy/1", "toy/2"]
    assert names("runs/toy/1", "mine") == ["toy/1", "mine"]
    assert names("a/toy/1", "b/toy/1") == ["a/toy/1", "b/toy/1"]
    assert names("runs/toy/1", "runs/toy/1") == ["toy/1"]


def test_a_folder_of_runs_stands_for_the_newest(tmp_path):
    for number in (1, 2):
        write_run(tmp_path / "toy" / str(number), checkpoint=checkpoint_of())
    assert [run.name for run in read_runs([tmp_path / "toy"])] == ["toy/2"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither a checkpoint nor metrics\.jsonl"):
        read_runs([tmp_path])


def test_a_damaged_result_is_named(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of(), result=result_of())
    (folder / "report" / "result.json").write_text('{"finished": 3}')
    with pytest.raises(CheckpointError, match=r"result\.json.*finished"):
        read_runs([folder])


def test_the_date_of_a_run_without_a_result_is_that_of_its_last_number(tmp_path):
    folder = write_run(tmp_path / "run", checkpoint=checkpoint_of())
    os.utime(folder / "metrics.jsonl", (0, 1e9))
    assert read_runs([folder])[0].changed.timestamp() == 1e9
