import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
)

from cache_schema.errors import AnnotationError, ConfigError
from tests.train.model.tiny_llms import WIDTH, save_tiny_llm, save_tiny_tokenizer
from train.config import LlmConfig, TextConfig
from train.model.llm import load_llm
from train.model.text import EncodedText, LlmText, load_text, load_tokenizer

CPU = torch.device("cpu")
QUERIES = ["where is it", "the cat"]
IDS = [[2, 3, 4], [5, 6]]


@pytest.fixture
def llm(tmp_path):
    folder = save_tiny_tokenizer(save_tiny_llm("llama", tmp_path / "llm"))
    return load_llm(LlmConfig(name=str(folder), num_layers=0, dtype="float32"), CPU, seed=0)


def _bert():
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertModel(BertConfig(vocab_size=50, intermediate_size=16, **sizes))


def _clip():
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = CLIPTextConfig(vocab_size=50, intermediate_size=16, eos_token_id=1, **sizes)
    vision = CLIPVisionConfig(image_size=8, patch_size=4, intermediate_size=16, **sizes)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict()))


def test_queries_become_the_llms_own_embeddings(llm):
    text = load_text(TextConfig(), llm)
    tokens, valid = text(QUERIES, CPU)
    assert isinstance(text, LlmText)
    assert valid.tolist() == [[True] * 3, [True, True, False]]
    for place, ids in enumerate(IDS):
        expected = llm.stack.get_input_embeddings().weight[ids]
        assert torch.equal(tokens[place, : len(ids)], expected)
    assert list(text.parameters()) == []


@pytest.mark.parametrize("build", [_bert, _clip])
def test_features_of_a_text_encoder_are_projected(llm, tmp_path, build):
    torch.manual_seed(1)
    whole = build().eval()
    whole.save_pretrained(tmp_path / "encoder")
    save_tiny_tokenizer(tmp_path / "encoder")
    text = load_text(TextConfig(encoder=str(tmp_path / "encoder")), llm)
    tokens, _ = text(QUERIES, CPU)
    assert isinstance(text, EncodedText)
    stack = whole.text_model if build is _clip else whole
    features = stack(input_ids=torch.tensor(IDS[:1])).last_hidden_state
    expected = text.linear(torch.nn.functional.layer_norm(features, features.shape[-1:]))
    torch.testing.assert_close(tokens[:1], expected)
    trained = [name for name, value in text.named_parameters() if value.requires_grad]
    assert trained == ["linear.weight", "linear.bias"]


def test_the_encoder_half_of_t5_reads_text(llm, tmp_path):
    save_tiny_tokenizer(save_tiny_llm("t5", tmp_path / "t5"))
    text = load_text(TextConfig(encoder=str(tmp_path / "t5")), llm)
    assert text(QUERIES, CPU)[0].shape == (2, 3, WIDTH)
    assert not any("decoder" in name for name, _ in text.named_parameters())


def test_a_query_that_is_too_long_is_refused_and_not_cut(llm):
    text = load_text(TextConfig(max_tokens=2), llm)
    with pytest.raises(AnnotationError, match=r"query 'where is it\.\.\.' has 3 tokens"):
        text(QUERIES, CPU)


def test_a_missing_tokenizer_is_named(tmp_path):
    save_tiny_llm("gpt2", tmp_path)
    with pytest.raises(ConfigError, match="has no tokenizer that can be read"):
        load_tokenizer(str(tmp_path))


def test_an_unknown_encoder_is_named(llm, tmp_path):
    save_tiny_tokenizer(tmp_path)
    with pytest.raises(ConfigError, match=r"text\.encoder '.*': no local folder or hub id"):
        load_text(TextConfig(encoder=str(tmp_path)), llm)


# --- features that others made ------------------------------------------------------------------


@pytest.fixture
def release(tmp_path):
    """Features of queries 1 and 2, of 3 and 2 tokens, and what they hold."""
    torch.manual_seed(2)
    values = {"1": torch.randn(3, 24), "2": torch.randn(2, 24)}
    (tmp_path / "release").mkdir()
    for name, value in values.items():
        np.savez(tmp_path / "release" / f"qid{name}.npz", last_hidden_state=value.numpy())
    return tmp_path / "release", values


def test_features_of_a_release_are_projected_as_an_encoders_are(llm, release):
    folder, values = release
    text = load_text(TextConfig(features=str(folder)), llm)
    text.name_queries({"where is it": "1", "the cat": "2"})
    tokens, valid = text(["the cat", "where is it"], CPU)
    assert valid.tolist() == [[True, True, False], [True] * 3]
    for place, (name, length) in enumerate([("2", 2), ("1", 3)]):
        expected = text.linear(torch.nn.functional.layer_norm(values[name], (24,)))
        torch.testing.assert_close(tokens[place, :length], expected)
    trained = [name for name, value in text.named_parameters() if value.requires_grad]
    assert trained == ["linear.weight", "linear.bias"]


def test_a_text_that_the_release_lacks_needs_the_encoder(llm, release, tmp_path):
    folder, _ = release
    text = load_text(TextConfig(features=str(folder)), llm)
    with pytest.raises(ConfigError, match=r"query 'the cat': the run reads .* text\.encoder that"):
        text(["the cat"], CPU)
    whole = _bert().eval()
    whole.save_pretrained(tmp_path / "encoder")
    save_tiny_tokenizer(tmp_path / "encoder")
    both = load_text(TextConfig(features=str(folder), encoder=str(tmp_path / "encoder")), llm)
    both.name_queries({"where is it": "1"})
    tokens, valid = both(["the cat", "where is it"], CPU)
    assert valid.sum(dim=1).tolist() == [2, 3]
    encoded = whole(input_ids=torch.tensor(IDS[1:])).last_hidden_state[0]
    expected = both.linear(torch.nn.functional.layer_norm(encoded, (24,)))
    torch.testing.assert_close(tokens[0, :2], expected)


def test_encoder_and_features_of_different_widths_are_refused(llm, tmp_path):
    np.savez(tmp_path / "qid1.npz", last_hidden_state=np.zeros((2, 5), np.float32))
    _bert().save_pretrained(tmp_path / "encoder")
    save_tiny_tokenizer(tmp_path / "encoder")
    with pytest.raises(ConfigError, match=r"have width 5, text\.encoder '.*' makes 24"):
        load_text(TextConfig(features=str(tmp_path), encoder=str(tmp_path / "encoder")), llm)


def test_features_longer_than_the_longest_query_are_refused(llm, release):
    text = load_text(TextConfig(features=str(release[0]), max_tokens=2), llm)
    text.name_queries({"where is it": "1"})
    with pytest.raises(AnnotationError, match=r"has 3 tokens, text\.max_tokens allows 2"):
        text(["where is it"], CPU)


def test_names_of_queries_are_checked_where_there_is_a_release(llm, release, tmp_path):
    text = load_text(TextConfig(features=str(release[0])), llm)
    with pytest.raises(AnnotationError, match=r"1 of 2 queries \(ids 9\)"):
        text.name_queries({"a": "1", "b": "9"})
    _bert().save_pretrained(tmp_path / "encoder")
    save_tiny_tokenizer(tmp_path / "encoder")
    load_text(TextConfig(encoder=str(tmp_path / "encoder")), llm).name_queries({"b": "9"})
