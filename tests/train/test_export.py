import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from cache_schema.errors import CheckpointError, ConfigError
from tests.train.model.tiny_llms import WIDTH
from tests.train.runs import make_config, make_trainer, use_toy_task
from train.config import LlmConfig
from train.export import export_run


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


def train(root, tuning, **settings):
    trainer = make_trainer(make_config(root, tuning=tuning, **settings), root / "run")
    trainer.train()
    trainer.score_best()  # reads the best checkpoint back
    return trainer.model


@pytest.mark.parametrize("tuning", ["basic", "lora:2", "last"])
def test_the_merged_llm_gives_the_states_of_the_run(tmp_path, tuning):
    model = train(tmp_path, tuning).eval()
    folder = export_run(tmp_path / "run", tmp_path / "out")
    merged = AutoModel.from_pretrained(folder).eval()
    tokens, valid = torch.randn(2, 5, WIDTH), torch.ones(2, 5, dtype=torch.bool)
    states = merged(inputs_embeds=tokens).last_hidden_state
    torch.testing.assert_close(states, model.llm(tokens, valid), rtol=1e-4, atol=1e-5)
    tensors = load_file(tmp_path / "out" / "video.safetensors")
    assert torch.equal(tensors["translator.linear.weight"], model.translator.linear.weight)
    assert not any(name.startswith("llm.") for name in tensors)
    assert (tmp_path / "out" / "labels.json").exists()


def test_no_bar_of_a_library_is_shown(tmp_path, capfd):
    train(tmp_path, "lora:2")
    capfd.readouterr()
    export_run(tmp_path / "run", tmp_path / "out")
    assert capfd.readouterr() == ("", "")


def test_learned_tokens_cannot_be_merged(tmp_path):
    train(tmp_path, "prompt:2")
    with pytest.raises(CheckpointError, match=r"prompt:2, adds learned tokens, which no weight"):
        export_run(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_llm_has_nothing_to_merge(tmp_path):
    train(tmp_path, "basic", llm=LlmConfig(name="none"))
    with pytest.raises(CheckpointError, match="without an LLM"):
        export_run(tmp_path / "run", tmp_path / "out")


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        export_run(tmp_path / "run", tmp_path / "out")
