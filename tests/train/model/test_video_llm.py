import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModel

from cache_schema.errors import CheckpointError, ConfigError
from tests.train.model.tiny_llms import POSITIONS, WIDTH, save_tiny_llm, save_tiny_tokenizer
from tests.train.outputs import states_of
from tests.train.toy import CLASSES, ToyAnswers
from train.config import DataConfig, LlmConfig, SideConfig, TextConfig, TrainConfig
from train.model.trained_weights import (
    TrainedWeights,
    load_trained,
    pretrained_identities,
    trained_weights,
)
from train.model.video_llm import build_model, parameter_counts

CPU = torch.device("cpu")
DIM = 5


def build(tmp_path, family="llama", **settings):
    name = "none" if family == "none" else str(save_tiny_llm(family, tmp_path / family))
    config = TrainConfig(
        llm=LlmConfig(name=name, num_layers=0, dtype="float32"),
        side=SideConfig(width=0),
        data=DataConfig(window_rows=16, context_rows=4),
        **settings,
    )
    return build_model(config, (DIM,), {"toy": ToyAnswers()}, CPU)


@pytest.mark.parametrize("family", ["llama", "opt-projected", "none"])
def test_a_batch_becomes_logits_through_every_part(tmp_path, family):
    model = build(tmp_path, family)
    features, valid = torch.randn(2, 7, DIM), torch.ones(2, 7, dtype=torch.bool)
    logits = model(features, valid, "toy")["current"]
    hidden = model.translator(features)
    if model.llm is not None:
        hidden = model.llm(hidden, valid)
    torch.testing.assert_close(logits, model.heads["toy"](states_of(hidden))["current"])
    assert logits.shape == (2, 7, CLASSES)


def test_only_translator_and_head_are_trained(tmp_path):
    model = build(tmp_path, tuning="basic")
    assert parameter_counts(model) == {
        "llm": 0,
        "side": 0,
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


def test_the_same_seed_builds_the_same_model(tmp_path):
    first, second, other = (trained_weights(build(tmp_path, seed=seed)).model for seed in (1, 1, 2))
    key = "translator.linear.weight"
    assert torch.equal(first[key], second[key])
    assert not torch.equal(first[key], other[key])


def test_trained_weights_leave_the_frozen_llm_out_and_load_back(tmp_path):
    model, other = build(tmp_path, seed=1), build(tmp_path, seed=2)
    weights = trained_weights(model)
    assert not any(name.startswith("llm.") for name in weights.model)
    assert {"translator.mean_D", "translator.std_D"} <= weights.model.keys()
    load_trained(other, weights, where="x")
    again = trained_weights(other).model
    assert all(torch.equal(again[name], weights.model[name]) for name in weights.model)


def test_tensors_of_another_shape_are_refused(tmp_path):
    model = build(tmp_path)
    tensors = {**trained_weights(model).model, "heads.toy.linear.bias": torch.zeros(9)}
    message = r"run: tensor 'heads.toy.linear.bias' has shape \(9,\), the model expects \(3,\)"
    with pytest.raises(CheckpointError, match=message):
        load_trained(model, TrainedWeights(model=tensors, adapter={}), where="run")


def test_windows_longer_than_the_llm_has_positions_are_refused(tmp_path):
    config = TrainConfig(
        llm=LlmConfig(name=str(save_tiny_llm("gpt2", tmp_path)), num_layers=0),
        data=DataConfig(window_rows=POSITIONS + 1, context_rows=10),
    )
    message = r"64 positions, but data.window_rows is 65 \(10 of them data.context_rows"
    with pytest.raises(ConfigError, match=message):
        build_model(config, (DIM,), {"toy": ToyAnswers()}, CPU)


class Probe(torch.nn.Module):
    """A head that hands out what it sees."""

    def forward(self, states):
        return {"rows": states.rows_BTE, "final": states.final_BSE, **states.targets}


class AskingAnswers(ToyAnswers):
    appended_tokens = 0

    def __init__(self, place="none", appended=0, online=False):
        super().__init__(query_place=place, online=online)
        self.appended_tokens = appended

    def build_head(self, context):
        return Probe()


QUERIES = ["where is it", "the cat"]
LENGTHS = [3, 5]


def build_asking(tmp_path, task, family="llama", run=None, **settings):
    folder = save_tiny_tokenizer(save_tiny_llm(family, tmp_path / family))
    config = TrainConfig(
        llm=LlmConfig(name=str(folder), num_layers=0, dtype="float32", **settings),
        side=SideConfig(width=0),
        data=DataConfig(window_rows=16, context_rows=4),
        text=TextConfig(max_tokens=8),
        **(run or {}),
    )
    return build_model(config, (DIM,), {"toy": task}, CPU).eval()


def padded_batch():
    torch.manual_seed(0)
    features = torch.randn(2, 5, DIM)
    return features, torch.arange(5) < torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "t5"])
@pytest.mark.parametrize(("place", "appended"), [("before", 0), ("after", 0), ("after", 2)])
def test_tokens_stand_in_their_order_without_holes(tmp_path, family, place, appended):
    stack = {"stack": "encoder"} if family == "t5" else {}
    model = build_asking(tmp_path, AskingAnswers(place, appended), family, **stack)
    features, valid = padded_batch()
    outputs = model(features, valid, "toy", QUERIES)
    for one, (query, length) in enumerate(zip(QUERIES, LENGTHS, strict=True)):
        rows = model.translator(features[one : one + 1, :length])
        text = model.text([query], CPU)[0]
        parts = [text, rows] if place == "before" else [rows, text]
        if appended:
            parts.append(model.appended["toy"][None])
        tokens = torch.cat(parts, dim=1)
        states = model.llm(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))[0]
        first = text.shape[1] if place == "before" else 0
        torch.testing.assert_close(outputs["rows"][one, :length], states[first : first + length])
        torch.testing.assert_close(outputs["final"][one], states[-max(1, appended) :])


def test_rows_see_a_query_before_them_only(tmp_path):
    features, valid = padded_batch()
    for place in ("before", "after"):
        model = build_asking(tmp_path / place, AskingAnswers(place))
        first, second = (model(features, valid, "toy", [text] * 2) for text in QUERIES)
        same = torch.allclose(first["rows"][valid], second["rows"][valid], atol=1e-5)
        assert same == (place == "after")
        assert not torch.equal(first["final"], second["final"])


def test_without_query_the_final_state_is_that_of_the_last_row(tmp_path):
    model = build_asking(tmp_path, AskingAnswers())
    features, valid = padded_batch()
    outputs = model(features, valid, "toy")
    for one, length in enumerate(LENGTHS):
        torch.testing.assert_close(outputs["final"][one, 0], outputs["rows"][one, length - 1])


def test_appended_tokens_are_trained_and_saved(tmp_path):
    model = build_asking(tmp_path, AskingAnswers(appended=3))
    assert trained_weights(model).model["appended.toy"].shape == (3, WIDTH)
    assert parameter_counts(model)["translator"] == DIM * WIDTH + WIDTH + 3 * WIDTH


def test_every_pretrained_network_has_an_identity_and_stays_out_of_checkpoints(tmp_path):
    save_tiny_tokenizer(save_tiny_llm("t5", tmp_path / "t5"))
    folder = save_tiny_tokenizer(save_tiny_llm("llama", tmp_path / "llama"))
    config = TrainConfig(
        llm=LlmConfig(name=str(folder), num_layers=0, dtype="float32"),
        data=DataConfig(window_rows=16, context_rows=4),
        text=TextConfig(encoder=str(tmp_path / "t5"), max_tokens=8),
    )
    model = build_model(config, (DIM,), {"toy": AskingAnswers("after")}, CPU)
    assert set(pretrained_identities(model)) == {"llm", "text.encoder"}
    assert {name for name in trained_weights(model).model if "text" in name} == {
        "text.linear.weight",
        "text.linear.bias",
    }


def test_a_task_that_predicts_from_the_past_refuses_a_bidirectional_llm(tmp_path):
    with pytest.raises(ConfigError, match="would show it the future"):
        build_asking(tmp_path, AskingAnswers(online=True), "t5", stack="encoder")


def test_a_query_needs_an_llm():
    config = TrainConfig(llm=LlmConfig(name="none"))
    with pytest.raises(ConfigError, match="only an LLM can read"):
        build_model(config, (DIM,), {"toy": AskingAnswers("after")}, CPU)


def test_positions_are_kept_for_query_and_appended_tokens(tmp_path):
    folder = save_tiny_tokenizer(save_tiny_llm("gpt2", tmp_path))
    config = TrainConfig(
        llm=LlmConfig(name=str(folder), num_layers=0),
        data=DataConfig(window_rows=POSITIONS - 9, context_rows=10),
        text=TextConfig(max_tokens=8),
    )
    message = r"toy needs up to 10 more. Set data.window_rows to 54 at most"
    with pytest.raises(ConfigError, match=message):
        build_model(config, (DIM,), {"toy": AskingAnswers("after", 2)}, CPU)


METHODS = ["bias", "first", "full", "lora:2", "prompt:3", "prefix:3"]


def disturb(model):
    """Change everything that is trained, as training does."""
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * 0.1)


@pytest.mark.parametrize("tuning", METHODS)
def test_a_loaded_model_gives_equal_logits_whatever_is_trained(tmp_path, tuning):
    model, other = (build(tmp_path, "gpt2", tuning=tuning, seed=seed) for seed in (1, 2))
    disturb(model)
    load_trained(other, trained_weights(model), where="x")
    features, valid = torch.randn(2, 7, DIM), torch.ones(2, 7, dtype=torch.bool)
    expected = model.eval()(features, valid, "toy")["current"]
    assert torch.equal(other.eval()(features, valid, "toy")["current"], expected)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
@pytest.mark.parametrize("tuning", ["lora:2", "prompt:3", "prefix:3"])
def test_an_adapter_is_kept_in_pefts_own_files(tmp_path, tuning):
    model = build(tmp_path, "gpt2", tuning=tuning)
    disturb(model)
    weights = trained_weights(model)
    assert not any(name.startswith("llm.") for name in weights.model)
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(
        {name: value.contiguous() for name, value in weights.adapter.items()},
        folder / "adapter_model.safetensors",
    )
    model.llm.adapter_config.save_pretrained(folder)
    base = AutoModel.from_pretrained(tmp_path / "gpt2")
    loaded = PeftModel.from_pretrained(base, folder).eval()
    tokens, mask = torch.randn(1, 5, WIDTH), torch.ones(1, 5, dtype=torch.long)
    states = loaded(inputs_embeds=tokens, attention_mask=mask, use_cache=False).last_hidden_state
    torch.testing.assert_close(model.llm(tokens, mask.bool()), states[:, -5:])
    assert model.llm.adapter_config.base_model_name_or_path == model.llm.identity.name
