import json
from dataclasses import replace

import pytest

from cache_schema.errors import ConfigError
from cache_schema.parsing import parse
from tests.train.runs import STEPS_PER_EPOCH, make_config, make_trainer, use_toy_task, with_optim
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import BEST, LAST
from train.config import TrainConfig, steps_between
from train.loop.validation import EpochResult, Validation


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


def logged(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        (line["kind"], line["step"], "accuracy" in line)
        for line in lines
        if line["kind"] != "train"
    ]


def trained(tmp_path, epochs, **settings):
    config = with_optim(make_config(tmp_path, **settings), epochs=epochs)
    trainer = make_trainer(config, tmp_path / "run")
    trainer.train()
    return trainer


def test_every_so_many_steps_and_at_the_end(tmp_path):
    assert STEPS_PER_EPOCH == 3
    trained(tmp_path, 3, evaluate_every="2 steps")
    assert logged(tmp_path / "run") == [
        ("evaluation", 2, True),
        ("epoch", 3, False),
        ("evaluation", 4, True),
        ("epoch", 6, True),
        ("evaluation", 8, True),
        ("epoch", 9, True),
    ]


def test_every_so_many_epochs_and_at_the_end(tmp_path):
    trained(tmp_path, 3, evaluate_every="2 epochs")
    assert logged(tmp_path / "run") == [("epoch", 3, False), ("epoch", 6, True), ("epoch", 9, True)]


def test_the_best_state_may_be_from_within_an_epoch(tmp_path, monkeypatch):
    values = iter([0.1, 0.9, 0.3])
    monkeypatch.setattr(
        Validation, "epoch", lambda self: EpochResult(value=next(values), scores={}, loss=1.0)
    )
    trainer = trained(tmp_path, 2, evaluate_every="2 steps")
    assert trainer.progress.best_epoch == pytest.approx(4 / 3)
    assert read_checkpoint(tmp_path / "run" / BEST)[0].progress.step == 4
    assert read_checkpoint(tmp_path / "run" / LAST)[0].progress.step == 6


def test_a_run_that_was_cut_off_within_an_epoch_remembers_its_best(tmp_path, monkeypatch):
    trainer = make_trainer(make_config(tmp_path, evaluate_every="2 steps"), tmp_path / "run")
    step = trainer._step

    def dying(task, batches):
        if trainer.progress.step == 2:
            raise KeyboardInterrupt
        return step(task, batches)

    trainer._step = dying
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    resumed = make_trainer(make_config(tmp_path, evaluate_every="2 steps"), tmp_path / "run")
    resumed.restore()
    assert resumed.progress.best_epoch == pytest.approx(2 / 3)
    resumed.train()
    assert [step for _, step, _ in logged(tmp_path / "run")] == [2, 3, 4, 6]


def test_held_out_videos_are_looked_at_as_often(tmp_path):
    config = make_config(tmp_path, evaluate_every="2 epochs")
    data = replace(config.data, selection="holdout", holdout_fraction=0.3)
    make_trainer(replace(config, data=data), tmp_path / "run").train()
    kinds = [kind for kind, _, _ in logged(tmp_path / "run")]
    assert kinds == ["epoch", "epoch"]


@pytest.mark.parametrize("text", ["0 epochs", "2", "1.5 epochs", "epoch", "3 days"])
def test_an_interval_needs_a_number_and_its_unit(text):
    with pytest.raises(ConfigError, match="expected a number with its unit"):
        parse(TrainConfig, {"evaluate_every": text}, where="x")


def test_epochs_are_counted_in_steps():
    assert steps_between("2 epochs", 7) == 14
    assert steps_between("1 step", 7) == 1


def test_a_part_of_what_another_package_reads_cannot_be_had(tmp_path, toy):
    toy.source = object()
    with pytest.raises(ConfigError, match="which another package reads"):
        make_trainer(make_config(tmp_path, evaluate_fraction=0.5), tmp_path / "run")
