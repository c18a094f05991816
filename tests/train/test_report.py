"""What vllm-train leaves at the end of a run for its readers."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cache_schema.cost import append_cost
from tests.train.pages.run_folders import COST
from tests.train.runs import make_config, use_tasks, use_toy_task, with_optim
from tests.train.toy import ToyAnswers, ToyTask
from train.checkpoints.result import read_result
from train.cli import train as command
from train.config import DataConfig
from train.loop.trainer import Trainer
from train.pages.run_facts import read_runs
from train.pages.view_file import read_views
from train.run import train


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


def test_a_run_leaves_its_numbers_and_its_page(tmp_path):
    config = make_config(tmp_path)
    for cost in (COST, replace(COST, streams=("other",))):
        append_cost(tmp_path / "f.zarr", cost)
    trained = train(config, resume=False)
    result = read_result(tmp_path / "run")
    assert result.metrics == trained.metrics
    assert result.baselines == trained.baselines
    assert result.main_metrics == {"toy": "accuracy"}
    assert (result.best_epoch, result.missing_videos) == (trained.best_epoch, ())
    # Rows of the toy's five videos, all of which an epoch reads.
    assert result.rows.read_per_epoch == result.rows.in_stream == 41 + 9 + 21 + 30 + 17
    assert (result.machine.device, result.machine.num_processes) == ("cpu", 1)
    assert 0 < result.seconds.start_up < trained.seconds
    assert result.seconds.scoring > 0
    assert result.extraction == (COST,)
    assert trained.page == tmp_path / "run" / "report.html"
    assert "accuracy" in trained.page.read_text()
    assert f"page         {trained.page}" in trained.text()
    assert sorted(read_views(tmp_path / "run", "toy").videos) == ["d", "e"]


def test_the_energy_of_the_epochs_is_noted_where_it_is_known(tmp_path, monkeypatch):
    class Meter:
        joules = 7.2e6

        def __init__(self, gpus):
            assert gpus == []  # a single process on the CPU

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("train.run.EnergyMeter", Meter)
    trained = train(make_config(tmp_path), resume=False)
    assert read_result(tmp_path / "run").energy_joules == 7.2e6
    assert "2 kWh" in trained.page.read_text()


def test_held_out_videos_are_read_in_an_epoch_and_val_is_not(tmp_path):
    config = replace(
        make_config(tmp_path),
        data=DataConfig(window_rows=16, context_rows=4, selection="holdout", holdout_fraction=0.4),
    )
    train(config, resume=False)
    result = read_result(tmp_path / "run")
    assert result.rows.read_per_epoch == 41 + 9 + 21
    assert result.metrics["accuracy"] is not None
    (run,) = read_runs([tmp_path / "run"])
    assert [(one.loss is None, dict(one.scores)) for one in run.log.epochs] == [(False, {})] * 2


def test_a_run_that_takes_its_last_epoch_has_no_evaluations(tmp_path):
    data = DataConfig(window_rows=16, context_rows=4, selection="last")
    trained = train(replace(make_config(tmp_path), data=data), resume=False)
    (run,) = read_runs([tmp_path / "run"])
    assert [one.loss for one in run.log.epochs] == [None, None]
    assert run.scores == {"toy": trained.metrics}
    assert trained.page.exists()


def test_several_tasks_have_their_own_numbers(tmp_path, monkeypatch):
    tasks = {name: ToyTask(answers=ToyAnswers(name=name)) for name in ("one", "two")}
    use_tasks(monkeypatch, tasks)
    config = make_config(tmp_path, task=("one", "two"), annotations=("none", "none"))
    train(config, resume=False)
    (run,) = read_runs([tmp_path / "run"])
    assert run.result.main_metrics == {"one": "accuracy", "two": "accuracy"}
    assert run.scores["two"]["accuracy"] == run.result.metrics["two/accuracy"]
    assert run.baselines["one"]["majority"] == {"accuracy": 40.0}
    assert all(read_views(run.folder, name) is not None for name in tasks)


def test_what_is_better_when_low_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(ToyTask, "lower_is_better", staticmethod(lambda name: name == "accuracy"))
    train(make_config(tmp_path), resume=False)
    assert read_result(tmp_path / "run").lower_is_better == {"toy": ("accuracy",)}


def test_a_page_that_fails_is_a_warning_and_the_run_is_whole(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("cannot be drawn")

    monkeypatch.setattr("train.pages.run_page.run_page", fail)
    trained = train(make_config(tmp_path), resume=False)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "ZeroDivisionError: cannot be drawn" in warnings[0]
    assert "vllm-report" in warnings[0]
    assert trained.page is None
    assert "report.html" not in trained.text()
    assert (tmp_path / "run" / "checkpoint-best").exists()
    assert read_result(tmp_path / "run").metrics == trained.metrics


def test_numbers_that_cannot_be_written_are_a_warning(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("train.report.write_result", fail)
    assert train(make_config(tmp_path), resume=False).page is None
    assert "disk full" in capsys.readouterr().err


def test_a_run_that_is_gone_on_with_has_one_log_and_its_result(tmp_path, monkeypatch):
    config = make_config(tmp_path)
    finish = Trainer._finish_epoch

    def cut_off(self, epoch, log):
        finish(self, epoch, log)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_finish_epoch", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(config, resume=False)
    (run,) = read_runs([tmp_path / "run"])
    assert (run.result, len(run.log.epochs)) == (None, 1)
    train(config, resume=True)
    (run,) = read_runs([tmp_path / "run"])
    assert run.result is not None
    assert [one.epoch for one in run.log.epochs] == [1, 2]
    assert run.log.steps_S.tolist() == [1, 2, 3, 4, 5, 6]


def test_the_command_says_where_the_page_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = with_optim(make_config(tmp_path), epochs=1)
    flags = {"--features": config.features, "--task": "toy", "--annotations": "none"}
    arguments = [*sum(flags.items(), ()), "--llm", "none", "--epochs", "1", "--device", "cpu"]
    done = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["page"] == "runs/toy/1/report.html"
