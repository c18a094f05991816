"""A run that begins with what another has learned."""

import logging
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from cache_schema.errors import ConfigError, PipelineError, RecipeMismatchError
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.runs import make_config, make_trainer, use_toy_task
from tests.train.toy import ToyTask, make_features
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import BEST, LAST
from train.config import TranslatorConfig
from train.model.trained_weights import trained_weights


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


@pytest.fixture
def config(tmp_path):
    """Of a run that goes on with a finished one, with a head of the same classes."""
    first = make_config(tmp_path)
    make_trainer(first, tmp_path / "first").train()
    return replace(first, start_from=str(tmp_path / "first"))


def saved(config):
    return load_file(f"{config.start_from}/{BEST}/model.safetensors")


def test_it_begins_with_everything_that_was_learned(config, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="train"):
        trainer = make_trainer(config, tmp_path / "run")
    own, expected = trained_weights(trainer.model).model, saved(config)
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], value) for name, value in expected.items())
    assert f"starts from {config.start_from}/{BEST}" in caplog.messages
    assert trainer.progress.step == 0


def test_the_statistics_of_the_first_run_stay(config, tmp_path, monkeypatch):
    other = {"a": 33, "z": 50}
    use_toy_task(monkeypatch, ToyTask(train=other, val={"d": 30}))
    make_features(tmp_path / "g.zarr", ToyTask(train=other, val={"d": 30}))
    trainer = make_trainer(replace(config, features=str(tmp_path / "g.zarr")), tmp_path / "run")
    trainer.train()
    expected = saved(config)
    for name in ("translator.mean_D", "translator.std_D"):
        assert torch.equal(trainer.model.state_dict()[name], expected[name])


def test_a_head_of_other_classes_starts_anew(config, tmp_path, monkeypatch, caplog):
    task = use_toy_task(monkeypatch)
    monkeypatch.setattr(type(task.answers), "labels", lambda self: {"current": ["x", "y", "z"]})
    fresh = trained_weights(
        make_trainer(replace(config, start_from=""), tmp_path / "n").model
    ).model
    with caplog.at_level(logging.INFO, logger="train"):
        own = trained_weights(make_trainer(config, tmp_path / "run").model).model
    expected = saved(config)
    for name, value in own.items():
        source = fresh if name.startswith("heads.toy.") else expected
        assert torch.equal(value, source[name])
    assert "without its heads: the classes of toy are others" in caplog.text


def test_an_adapter_may_be_new(config, tmp_path):
    trainer = make_trainer(replace(config, tuning="lora:2"), tmp_path / "run")
    weights = trained_weights(trainer.model)
    assert torch.equal(weights.model["translator.mean_D"], saved(config)["translator.mean_D"])
    assert weights.adapter


def test_an_adapter_is_taken(tmp_path):
    config = make_config(tmp_path, tuning="lora:2")
    make_trainer(config, tmp_path / "first").train()
    trainer = make_trainer(replace(config, start_from=str(tmp_path / "first")), tmp_path / "run")
    expected = load_file(tmp_path / "first" / BEST / "adapter_model.safetensors")
    adapter = trained_weights(trainer.model).adapter
    assert adapter.keys() == expected.keys()
    assert all(torch.equal(adapter[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"translator": TranslatorConfig(pool_rows=2)}, "translator.pool_rows = 1, not 2"),
        ({"start_from": "nowhere"}, "nowhere"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config, tmp_path, settings, message):
    with pytest.raises(PipelineError, match=message):
        make_trainer(replace(config, **settings), tmp_path / "run")


def test_another_llm_is_refused(config, tmp_path):
    save_tiny_llm("llama", tmp_path / "other")
    weights = load_file(tmp_path / "other" / "model.safetensors")
    changed = {name: value + 1 for name, value in weights.items()}
    save_file(changed, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    other = replace(config.llm, name=str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="is not the network that run was trained against"):
        make_trainer(replace(config, llm=other), tmp_path / "run")


def test_a_lower_rank_is_refused(tmp_path):
    config = make_config(tmp_path, tuning="lora:2")
    make_trainer(config, tmp_path / "first").train()
    config = replace(config, start_from=str(tmp_path / "first"), tuning="lora:4")
    with pytest.raises(ConfigError, match="tuning: lora:2, not lora:4"):
        make_trainer(config, tmp_path / "run")


def test_features_of_another_recipe_are_refused(config, tmp_path):
    make_features(tmp_path / "g.zarr", ToyTask(), encoder="other")
    with pytest.raises(RecipeMismatchError, match="was made another way"):
        make_trainer(replace(config, features=str(tmp_path / "g.zarr")), tmp_path / "run")


def test_resumed_it_does_not_begin_again(config, tmp_path):
    make_trainer(config, tmp_path / "run").train()
    shutil.rmtree(config.start_from)
    resumed = read_checkpoint(tmp_path / "run" / LAST)[0]
    trainer = make_trainer(config, tmp_path / "run", resumed)
    trainer.restore()
    weights = load_file(tmp_path / "run" / LAST / "model.safetensors")
    own = trained_weights(trainer.model).model
    assert all(torch.equal(own[name], value) for name, value in weights.items())
