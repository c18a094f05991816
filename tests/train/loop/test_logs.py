import json
import logging
import sys
import types
from pathlib import Path

import pytest

from cache_schema.errors import ConfigError
from train.checkpoints.result import METRICS
from train.config import LoggingConfig, TrainConfig
from train.loop.logs import RunLog
from train.loop.wandb_log import WANDB_ID


def write_steps(folder, first, last):
    with RunLog(folder, first_step=first, num_steps=9, enabled=True) as log:
        for step in range(first + 1, last + 1):
            log.step(step, {"loss": 1 / step})


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / METRICS).read_text().splitlines()]


def test_steps_of_a_run_that_was_cut_off_are_not_logged_twice(tmp_path):
    write_steps(tmp_path, 0, 5)
    write_steps(tmp_path, 3, 6)
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_a_torn_last_line_is_dropped(tmp_path):
    write_steps(tmp_path, 0, 2)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"kind": "train", "st')
    write_steps(tmp_path, 2, 3)
    assert steps(tmp_path) == [1, 2, 3]


def test_a_log_whose_rewriting_is_cut_off_is_whole(tmp_path, monkeypatch):
    write_steps(tmp_path, 0, 5)

    def cut_off(path, text, **_):
        with path.open("w") as file:
            file.write(text[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_steps(tmp_path, 3, 6)
    monkeypatch.undo()
    assert steps(tmp_path) == [1, 2, 3, 4, 5]


def test_epochs_are_lines_for_a_reader(tmp_path, caplog):
    with (
        caplog.at_level(logging.INFO, logger="train"),
        RunLog(
            tmp_path, first_step=0, num_steps=1, enabled=True, shown={"loss", "Acc", "b/Acc"}
        ) as log,
    ):
        log.epoch(7, 2, {"loss": 0.51234, "Acc": None, "F1": 3.0}, {"total_seconds": 3.0})
    assert caplog.messages == ["epoch 2, step 7: loss 0.5123, Acc -"]
    entry = json.loads((tmp_path / METRICS).read_text())
    assert entry == {
        "kind": "epoch", "step": 7, "epoch": 2, "loss": 0.51234, "Acc": None, "F1": 3.0,
        "total_seconds": 3.0,
    }  # fmt: skip


def test_tensorboard_gets_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_steps(tmp_path, 0, 2)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train/loss")
    assert [(event.step, event.value) for event in events] == [(1, 1.0), (2, 0.5)]


def test_other_processes_write_nothing(tmp_path):
    with RunLog(tmp_path / "run", first_step=0, num_steps=1, enabled=False) as log:
        log.step(1, {"loss": 1.0})
        log.epoch(1, 1, {"loss": 1.0}, {})
    assert not (tmp_path / "run").exists()


class FakeClock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_a_log_without_a_terminal_gets_a_line_every_half_minute(tmp_path, caplog):
    clock = FakeClock()
    with (
        caplog.at_level(logging.INFO, logger="train"),
        RunLog(tmp_path, first_step=10, num_steps=40, enabled=True, clock=clock) as log,
    ):
        for step in range(11, 18):
            clock.seconds += 12
            log.step(step, {"loss": 1 / 3, "rows": 300})
    assert caplog.messages == [
        "step 13 of 40: loss 0.3333, 25 rows/s, 0:05:24 left",
        "step 16 of 40: loss 0.3333, 25 rows/s, 0:04:48 left",
    ]


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package that keeps what it is told."""
    module = types.ModuleType("wandb")
    module.runs = []

    class Run:
        def __init__(self, settings):
            self.settings, self.logged, self.exit_code = settings, [], None

        def log(self, values, step):
            self.logged.append((step, values))

        def finish(self, exit_code):
            self.exit_code = exit_code

    module.init = lambda **settings: module.runs.append(Run(settings)) or module.runs[-1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


ASKED = TrainConfig(logging=LoggingConfig(wandb_project="ours"))


def test_weights_and_biases_gets_the_numbers_of_the_file(tmp_path, wandb):
    folder = tmp_path / "moment_query" / "3"
    with RunLog(folder, first_step=0, num_steps=2, enabled=True, config=ASKED) as log:
        log.step(1, {"loss": 0.5, "lr": 0.1})
        log.epoch(1, 1, {"Acc": 50.0, "undefined": None}, {"total_rows": 9})
    (run,) = wandb.runs
    assert run.logged == [
        (1, {"train/loss": 0.5, "train/lr": 0.1}),
        (1, {"epoch/epoch": 1, "epoch/Acc": 50.0, "epoch/total_rows": 9}),
    ]
    assert (run.settings["project"], run.settings["name"]) == ("ours", "moment_query/3")
    assert run.settings["config"]["logging"] == {"wandb_project": "ours"}
    assert run.exit_code == 0


def test_resuming_goes_on_with_the_same_run_there(tmp_path, wandb):
    with (
        pytest.raises(InterruptedError),
        RunLog(tmp_path, first_step=0, num_steps=2, enabled=True, config=ASKED),
    ):
        raise InterruptedError
    with RunLog(tmp_path, first_step=1, num_steps=2, enabled=True, config=ASKED):
        pass
    first, second = (run.settings for run in wandb.runs)
    assert first["id"] == second["id"] == (tmp_path / WANDB_ID).read_text().strip()
    assert first["resume"] == second["resume"] == "allow"
    assert [run.exit_code for run in wandb.runs] == [1, 0]


def test_weights_and_biases_is_not_touched_unless_asked_for(tmp_path, wandb):
    with RunLog(tmp_path, first_step=0, num_steps=2, enabled=True, config=TrainConfig()):
        pass
    with RunLog(tmp_path / "b", first_step=0, num_steps=2, enabled=False, config=ASKED):
        pass
    assert wandb.runs == []


def test_weights_and_biases_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"'ours', but Weights & Biases is not .*pip install"):
        RunLog(tmp_path / "1", first_step=0, num_steps=2, enabled=True, config=ASKED)
    assert not list((tmp_path / "1").iterdir())  # so that its number is free again
