import pytest
import torch
from transformers import AutoModel, GPT2Config, GPT2Model

from cache_schema.errors import ConfigError
from tests.train.tiny_llms import save_tiny_llm
from train.tuning import parse_tuning, tune

FAMILIES = ("gpt2", "opt", "llama")


def trainable(stack):
    return sum(value.numel() for value in stack.parameters() if value.requires_grad)


@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_lora_on_gpt2_small_trains_as_many_parameters_as_the_paper_says(rank):
    # Table 3 of the paper: 0.04 / 0.07 / 0.15 / 0.30 M, rank-r on the fused c_attn of 12 blocks.
    with torch.device("meta"):
        stack = GPT2Model(GPT2Config())
        tune(stack, f"lora:{rank}", seed=0)
    assert trainable(stack) == 36_864 * rank


def test_basic_trains_nothing(tmp_path):
    stack = AutoModel.from_pretrained(save_tiny_llm("llama", tmp_path))
    tune(stack, "basic", seed=0)
    assert trainable(stack) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_starts_as_the_identity_and_its_updates_count(family, tmp_path):
    plain = AutoModel.from_pretrained(save_tiny_llm(family, tmp_path)).eval()
    tokens = torch.randn(2, 5, 32)
    expected = plain(inputs_embeds=tokens).last_hidden_state.detach()
    tune(plain, "lora:2", seed=0)
    torch.testing.assert_close(plain(inputs_embeds=tokens).last_hidden_state, expected)
    for name, value in plain.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(value)
    changed = plain(inputs_embeds=tokens).last_hidden_state
    assert (changed - expected).abs().max() > 1e-2


def test_adapters_of_a_bfloat16_llm_are_float32(tmp_path):
    stack = AutoModel.from_pretrained(save_tiny_llm("llama", tmp_path), dtype=torch.bfloat16)
    tune(stack, "lora:2", seed=0)
    dtypes = {value.dtype for value in stack.parameters() if value.requires_grad}
    assert dtypes == {torch.float32}
    assert stack(inputs_embeds=torch.randn(1, 3, 32).bfloat16()).last_hidden_state.isfinite().all()


@pytest.mark.parametrize("method", ["lora", "lora:0", "lora:x", "prefix:4"])
def test_another_method_is_refused_with_those_there_are(method):
    with pytest.raises(ConfigError, match="expected basic or lora:R"):
        parse_tuning(method)
