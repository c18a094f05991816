import pytest
import torch

from cache_schema.errors import CheckpointError, ConfigError
from tests.train.tiny_llms import POSITIONS, WIDTH, save_tiny_llm
from tests.train.toy import CLASSES, ToyTask
from train.config import DataConfig, LlmConfig, TrainConfig
from train.model import build_model, load_trained, parameter_counts, trained_tensors

CPU = torch.device("cpu")
DIM = 5


def build(tmp_path, family="llama", **settings):
    name = "none" if family == "none" else str(save_tiny_llm(family, tmp_path / family))
    config = TrainConfig(
        llm=LlmConfig(name=name, num_layers=0, dtype="float32"),
        data=DataConfig(window_rows=16, context_rows=4),
        **settings,
    )
    return build_model(config, (DIM,), {"toy": ToyTask()}, CPU)


@pytest.mark.parametrize("family", ["llama", "opt-projected", "none"])
def test_a_batch_becomes_logits_through_every_part(tmp_path, family):
    model = build(tmp_path, family)
    features, valid = torch.randn(2, 7, DIM), torch.ones(2, 7, dtype=torch.bool)
    logits = model(features, valid, "toy")["current"]
    hidden = model.translator(features)
    if model.llm is not None:
        hidden = model.llm(hidden, valid)
    torch.testing.assert_close(logits, model.heads["toy"](hidden)["current"])
    assert logits.shape == (2, 7, CLASSES)


def test_only_translator_and_head_are_trained(tmp_path):
    model = build(tmp_path)
    assert parameter_counts(model) == {
        "llm": 0,
        "translator": DIM * WIDTH + WIDTH,
        "heads": WIDTH * CLASSES + CLASSES,
    }
    logits = model.train()(torch.randn(1, 4, DIM), torch.ones(1, 4, dtype=torch.bool), "toy")
    logits["current"].sum().backward()
    got = {name for name, value in model.named_parameters() if value.grad is not None}
    assert got == {
        "translator.linear.weight",
        "translator.linear.bias",
        "heads.toy.linear.weight",
        "heads.toy.linear.bias",
    }
    assert not model.llm.stack.training


def test_the_same_seed_builds_the_same_model(tmp_path):
    first, second, other = (trained_tensors(build(tmp_path, seed=seed)) for seed in (1, 1, 2))
    key = "translator.linear.weight"
    assert torch.equal(first[key], second[key])
    assert not torch.equal(first[key], other[key])


def test_trained_tensors_leave_the_frozen_llm_out_and_load_back(tmp_path):
    model, other = build(tmp_path, seed=1), build(tmp_path, seed=2)
    tensors = trained_tensors(model)
    assert not any(name.startswith("llm.") for name in tensors)
    assert {"translator.mean_D", "translator.std_D"} <= tensors.keys()
    load_trained(other, tensors, where="x")
    assert all(torch.equal(trained_tensors(other)[name], tensors[name]) for name in tensors)


def test_tensors_of_another_shape_are_refused(tmp_path):
    model = build(tmp_path)
    tensors = {**trained_tensors(model), "heads.toy.linear.bias": torch.zeros(9)}
    message = r"run: tensor 'heads.toy.linear.bias' has shape \(9,\), the model expects \(3,\)"
    with pytest.raises(CheckpointError, match=message):
        load_trained(model, tensors, where="run")


def test_windows_longer_than_the_llm_has_positions_are_refused(tmp_path):
    config = TrainConfig(
        llm=LlmConfig(name=str(save_tiny_llm("gpt2", tmp_path)), num_layers=0),
        data=DataConfig(window_rows=POSITIONS + 1, context_rows=10),
    )
    message = r"64 positions, but data.window_rows is 65 \(10 of them data.context_rows"
    with pytest.raises(ConfigError, match=message):
        build_model(config, (DIM,), {"toy": ToyTask()}, CPU)
