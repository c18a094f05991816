from dataclasses import replace

import pytest
import torch

from cache_schema.errors import CheckpointError, RecipeMismatchError
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.runs import make_config, use_toy_task
from tests.train.toy import ToyAnswers, ToyTask, make_features
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import LAST
from train.loop.parallel import make_accelerator
from train.loop.trainer import Trainer
from train.predict.trained_run import load_trained_run
from train.prepare import prepare

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


@pytest.fixture
def trained(tmp_path):
    config = make_config(tmp_path)
    trainer = Trainer(prepare(config, CPU), make_accelerator("cpu"), tmp_path / "run")
    trainer.train()
    return config, trainer, tmp_path / "run"


def test_a_trained_run_predicts_what_its_best_checkpoint_did(trained):
    _, trainer, run = trained
    trainer.score_best()
    loaded = load_trained_run(run, CPU)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[name])


def test_features_of_another_recipe_are_refused(trained, tmp_path):
    make_features(tmp_path / "other.zarr", ToyTask(), encoder="clip")
    with pytest.raises(RecipeMismatchError, match=r"encoder\.id = clip, not toy"):
        load_trained_run(trained[2], CPU).stream(tmp_path / "other.zarr")


def test_other_llm_weights_are_refused(trained, tmp_path):
    save_tiny_llm("gpt2", tmp_path / "llm")
    loaded = load_trained_run(trained[2], CPU)
    with pytest.raises(CheckpointError, match="weights_sha256 = "):
        loaded.model.eval()


def test_changed_samples_are_refused_on_resume(trained, toy):
    config, _, run = trained
    del toy.train["b"]
    resumed = read_checkpoint(run / LAST)[0]
    with pytest.raises(CheckpointError, match="The 2 training samples are not those of the run"):
        prepare(config, CPU, resumed)


def test_missing_videos_are_counted_when_allowed(tmp_path, toy):
    toy.train["zz"] = 5
    config = replace(make_config(tmp_path), allow_missing=1)
    (tmp_path / "f.zarr").rename(tmp_path / "whole.zarr")
    make_features(tmp_path / "f.zarr", ToyTask())
    assert prepare(config, CPU).tasks[0].missing == ["zz"]


def test_annotations_that_number_classes_otherwise_are_refused(trained, tmp_path, toy, monkeypatch):
    monkeypatch.setattr(ToyAnswers, "labels", lambda self: {"current": ["class 0", "other"]})
    message = "2 classes, not 3; the first that differs is number 1"
    with pytest.raises(CheckpointError, match=message):
        load_trained_run(trained[2], CPU).task()
