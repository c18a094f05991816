import pytest
import torch

from tests.train.model.tiny_llms import save_tiny_llm
from train.config import LlmConfig
from train.model import attention as attention_module
from train.model.attention import most_eager_tokens
from train.model.llm import load_llm

CPU = torch.device("cpu")


def load(folder, tuning="basic", **settings):
    config = LlmConfig(name=str(folder), num_layers=0, **{"dtype": "bfloat16", **settings})
    return load_llm(config, CPU, seed=0, tuning=tuning)


def used(llm, num_tokens):
    """Return which attention the blocks of an LLM see while they compute."""
    seen = set()
    llm.stack.register_forward_pre_hook(
        lambda module, inputs: seen.add(module.config._attn_implementation)
    )
    tokens = torch.randn(2, num_tokens, llm.width_in) * llm.embedding_rms
    llm(tokens, torch.ones(2, num_tokens, dtype=torch.bool))
    return seen


def test_short_windows_are_trained_with_plain_products_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(attention_module, "EAGER_TOKENS", 6)
    llm = load(save_tiny_llm("llama", tmp_path))
    assert used(llm, 6) == {"eager"}
    assert used(llm, 7) == {"sdpa_causal"}
    with torch.inference_mode():
        assert used(llm, 6) == {"sdpa_causal"}
    assert llm.stack.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3", "gpt2", "opt"])
def test_families_that_would_round_more_keep_the_fused_kernel(family, tmp_path):
    rounds_more = family in ("gpt2", "opt")
    llm = load(save_tiny_llm(family, tmp_path))
    assert used(llm, 5) == {"sdpa" if rounds_more else "eager"}


def test_only_bfloat16_on_a_cpu_and_a_free_choice_count():
    cases = [
        (LlmConfig(), CPU, torch.bfloat16),
        (LlmConfig(), CPU, torch.float32),
        (LlmConfig(), torch.device("cuda"), torch.bfloat16),
        (LlmConfig(attention="sdpa"), CPU, torch.bfloat16),
        (LlmConfig(gradient_checkpointing=True), CPU, torch.bfloat16),
        (LlmConfig(compile=True), CPU, torch.bfloat16),
    ]
    assert [bool(most_eager_tokens(*case)) for case in cases] == [True, *[False] * 5]


def states_and_gradient(llm, valid):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(*valid.shape, llm.width_in, generator=generator) * llm.embedding_rms
    tokens.requires_grad_()
    states = llm(tokens, valid)[valid]
    (states * torch.randn(states.shape, generator=generator)).sum().backward()
    return states.detach(), tokens.grad[valid]


@pytest.mark.parametrize("tuning", ["basic", "full", "lora:2", "prompt:2", "prefix:2"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_states_and_gradients_are_those_of_float32_but_for_rounding(family, tuning, tmp_path):
    folder = save_tiny_llm(family, tmp_path)
    valid = torch.arange(9) < torch.tensor([[5], [9]])
    exact = states_and_gradient(load(folder, tuning, dtype="float32"), valid)
    fused = states_and_gradient(load(folder, tuning, attention="sdpa"), valid)
    eager = states_and_gradient(load(folder, tuning), valid)
    for reference, usual, got in zip(exact, fused, eager, strict=True):
        # bfloat16 alone brings the fused kernel this far from float32.
        rounding = (usual - reference).norm()
        assert (got - reference).norm() < 2 * rounding < 0.2 * reference.norm()
