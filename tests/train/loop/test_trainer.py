import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from cache_schema.errors import ConfigError, PipelineError, StoppedError
from tests.train.runs import (
    STEPS_PER_EPOCH,
    UNCHANGED,
    make_config,
    make_trainer,
    use_toy_task,
    with_optim,
)
from tests.train.toy import ToyTask, make_features
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import BEST, LAST
from train.checkpoints.result import METRICS
from train.config import AugmentConfig, DataConfig, LlmConfig
from train.loop.parallel import make_accelerator
from train.loop.trainer import _share
from train.loop.validation import EpochResult
from train.task import Window


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


class Killed(Exception):
    pass


def stop_after(trainer, steps):
    """Die like a killed process once so many steps are done and saved."""
    step = trainer._step

    def dying(task, batches):
        if trainer.progress.step == steps:
            raise Killed
        return step(task, batches)

    trainer._step = dying


def test_it_learns_what_can_be_learnt(tmp_path):
    config = with_optim(make_config(tmp_path), epochs=15)
    trainer = make_trainer(config, tmp_path / "run")
    trainer.train()
    curve = [loss for _, loss in losses(tmp_path / "run")]
    assert curve[-1] < 0.5 * curve[0]
    assert trainer.score_best()["accuracy"] > 80  # chance is 33


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(tmp_path, stop):
    config = make_config(tmp_path, checkpoint_steps=1)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    make_trainer(config, whole).train()
    first = make_trainer(config, cut)
    stop_after(first, stop)
    with pytest.raises(Killed):
        first.train()
    resumed = make_trainer(config, cut, read_checkpoint(cut / LAST)[0])
    resumed.restore()
    assert resumed.progress.step == stop
    resumed.train()
    assert len(losses(whole)) == 2 * STEPS_PER_EPOCH
    assert losses(cut) == losses(whole)
    for name in ("model.safetensors", "optimizer.safetensors"):
        pair = [load_file(run / LAST / name) for run in (cut, whole)]
        assert all(torch.equal(pair[0][key], pair[1][key]) for key in pair[1])


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path):
    augment = AugmentConfig(noise_std=0.1, feature_dropout=0.1, state_dropout=0.1)
    config = make_config(tmp_path, augment=augment)
    for name, size in (("whole", 0), ("parts", 1)):
        make_trainer(with_optim(config, micro_batch_size=size), tmp_path / name).train()
    whole, parts = (losses(tmp_path / name) for name in ("whole", "parts"))
    assert [loss for _, loss in parts] == pytest.approx([loss for _, loss in whole], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path, toy):
    trainer = make_trainer(make_config(tmp_path), tmp_path / "run")
    toy.blow_up = True
    before = trainer.model.heads["toy"].linear.weight.clone()
    with pytest.raises(PipelineError, match=r"step 1: loss nan, .*The batch holds [abc]"):
        trainer.train()
    assert torch.equal(trainer.model.heads["toy"].linear.weight, before)


def test_the_best_epoch_is_kept_and_scored_from_its_file(tmp_path, monkeypatch):
    values = iter([10.0, 30.0, 20.0, 77.0])
    trainer = make_trainer(with_optim(make_config(tmp_path), epochs=3), tmp_path / "run")
    monkeypatch.setattr(ToyTask, "score", lambda self, path: {"accuracy": next(values)})
    trainer.train()
    assert (trainer.progress.best_epoch, trainer.progress.best_value) == (2, 0.3)
    best = read_checkpoint(tmp_path / "run" / BEST)[0]
    assert best.progress.step == 2 * STEPS_PER_EPOCH
    assert trainer.score_best() == {"accuracy": 77.0}
    weight = load_file(tmp_path / "run" / BEST / "model.safetensors")["heads.toy.linear.weight"]
    assert torch.equal(trainer.model.heads["toy"].linear.weight, weight)


@pytest.mark.parametrize(("losses", "best"), [((3.0, 1.0, 2.0), 2), ((1.0, 2.0, 1.0), 1)])
def test_of_epochs_that_score_the_same_the_surer_is_kept(tmp_path, monkeypatch, losses, best):
    trainer = make_trainer(with_optim(make_config(tmp_path), epochs=3), tmp_path / "run")
    results = iter([EpochResult(value=0.5, scores={"accuracy": 50.0}, loss=one) for one in losses])
    monkeypatch.setattr(type(trainer.validation), "epoch", lambda self: next(results))
    trainer.train()
    assert trainer.progress.best_epoch == best


def test_held_out_training_videos_pick_the_epoch_and_val_is_scored_once(tmp_path, monkeypatch):
    config = make_config(
        tmp_path,
        data=DataConfig(window_rows=16, context_rows=4, selection="holdout", holdout_fraction=0.3),
    )
    scored = []
    monkeypatch.setattr(
        ToyTask, "score", lambda self, path: scored.append(path.name) or {"accuracy": 1.0}
    )
    trainer = make_trainer(config, tmp_path / "run")
    trainer.train()
    assert scored == []
    assert trainer.progress.best_value < 0  # minus the loss
    trainer.score_best()
    assert scored == ["toy.json"]
    held = {rows.video_id for rows in trainer.run.tasks[0].holdout}
    assert len(held) == 1
    assert held.isdisjoint({rows.video_id for rows in trainer.run.tasks[0].train})


def test_every_epoch_writes_a_submission_and_its_scores(tmp_path):
    trainer = make_trainer(make_config(tmp_path), tmp_path / "run")
    trainer.train()
    predictions = json.loads((tmp_path / "run" / "predictions" / "last" / "toy.json").read_text())
    assert {name: len(classes) for name, classes in predictions.items()} == {"d": 30, "e": 17}
    text = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    epochs = [line for line in map(json.loads, text) if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert epochs[-1]["accuracy"] == trainer.progress.scores["accuracy"]
    assert epochs[-1]["undefined"] is None


def test_the_line_of_an_epoch_tells_its_loss_and_the_main_metric(tmp_path, caplog):
    trainer = make_trainer(make_config(tmp_path), tmp_path / "run")
    with caplog.at_level("INFO", logger="train"):
        trainer.train()
    (line,) = [one for one in caplog.messages if one.startswith("epoch 2, ")]
    told = [part.split()[0] for part in line.partition(": ")[2].split(", ")]
    assert told == ["evaluation_loss", "accuracy"]


def test_statistics_come_from_the_training_rows(tmp_path):
    trainer = make_trainer(make_config(tmp_path), tmp_path / "run")
    trainer.train()
    rows = [trainer.run.stream.read(name).values for name in "abc"]
    expected = torch.cat([torch.from_numpy(values) for values in rows]).double().std(0, False)
    torch.testing.assert_close(
        trainer.model.translator.std_D, expected.float(), rtol=1e-5, atol=1e-6
    )


def test_windows_of_about_one_length_share_a_batch(tmp_path, monkeypatch):
    task = use_toy_task(monkeypatch, ToyTask(train={"a": 5, "b": 14, "c": 6, "f": 13}))
    make_features(tmp_path / "f.zarr", task)
    trainer = make_trainer(make_config(tmp_path, llm=LlmConfig(name="none")), tmp_path / "run")
    for epoch in range(5):
        batches = [parts for _, parts in trainer._batches(epoch, 0)]
        rows = sorted(sorted(one.num_rows for one in part.windows) for (part,) in batches)
        assert rows == [[5, 6], [13, 14]]


def test_processes_share_every_batch_without_overlap():
    batch = [Window(sample=index, start=0, stop=4) for index in range(5)]
    shares = [_share(batch, rank, 3, 0) for rank in range(3)]
    samples = [[window.sample for window in part] for share in shares for part in share]
    assert samples == [[0, 3], [1, 4], [2]]


def test_all_processes_take_part_equally_often():
    batch = [Window(sample=index, start=0, stop=4) for index in range(5)]
    idle = Window(sample=0, start=0, stop=4, num_context=4)
    assert _share(batch, 0, 2, 1) == [[batch[0]], [batch[2]], [batch[4]]]
    assert _share(batch, 1, 2, 1) == [[batch[1]], [batch[3]], [idle]]
    assert _share(batch[:1], 1, 2, 0) == [[idle]]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"torch sees no GPU here\. Use --device cpu"):
        make_accelerator("cuda")


def test_noise_is_part_of_training(tmp_path):
    config = make_config(tmp_path)
    for name, made in (("noisy", config), ("plain", replace(config, augment=UNCHANGED))):
        make_trainer(with_optim(made, epochs=1), tmp_path / name).train()
    assert losses(tmp_path / "noisy") != losses(tmp_path / "plain")


def test_sigterm_saves_the_step_in_progress_and_the_run_goes_on_exactly(tmp_path):
    config = make_config(tmp_path)
    whole = make_trainer(config, tmp_path / "whole")
    whole.train()
    cut = make_trainer(config, tmp_path / "cut")
    step = cut._step

    def stopped_while_working(*batch):
        if cut.progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*batch)

    cut._step = stopped_while_working
    with pytest.raises(StoppedError, match=r"by SIGTERM after step 4 of 6, which is saved"):
        cut.train()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    resumed = make_trainer(config, tmp_path / "cut", read_checkpoint(tmp_path / "cut" / LAST)[0])
    resumed.restore()
    resumed.train()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_an_epoch_that_was_done_but_not_evaluated_is_evaluated_on_resuming(tmp_path):
    config = make_config(tmp_path)
    trainer = make_trainer(config, tmp_path / "run")
    step = trainer._step

    def stopped_while_working(*batch):
        if trainer.progress.step == STEPS_PER_EPOCH - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*batch)

    trainer._step = stopped_while_working
    with pytest.raises(StoppedError, match="after step 3 of 6"):
        trainer.train()
    saved = read_checkpoint(tmp_path / "run" / LAST)[0]
    assert (saved.progress.step, saved.progress.best_epoch) == (STEPS_PER_EPOCH, None)
    resumed = make_trainer(config, tmp_path / "run", saved)
    resumed.restore()
    resumed.train()
    lines = [json.loads(line) for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2]


def test_rows_and_seconds_are_counted(tmp_path):
    trainer = make_trainer(make_config(tmp_path), tmp_path / "run")
    trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    progress = read_checkpoint(tmp_path / "run" / LAST)[0].progress
    assert progress.num_rows == sum(line["rows"] for line in steps) > 2 * STEPS_PER_EPOCH * 9
    assert progress.seconds > 0
    assert lines[-1]["total_rows"] == progress.num_rows
    assert lines[-1]["total_seconds"] == progress.seconds
    assert all(line["evaluation_seconds"] > 0 for line in lines if line["kind"] == "epoch")
