import pytest
import torch
from transformers import (
    AutoModel,
    DynamicCache,
    GPT2Config,
    GPT2Model,
    GPTNeoXConfig,
    MambaConfig,
    Phi3Config,
    Qwen2Config,
)

from cache_schema.errors import ConfigError
from tests.train.model.tiny_llms import POSITIONS, save_tiny_llm
from train.config import LlmConfig
from train.model.llm import load_llm
from train.model.tuning import parse_tuning, tune
from train.stream.cached_llm import name_of_past

FAMILIES = ("gpt2", "opt", "llama")


def load(folder, method, **settings):
    config = {"num_layers": 0, "dtype": "float32", **settings}
    llm_config = LlmConfig(name=str(folder), **config)
    return load_llm(llm_config, torch.device("cpu"), seed=0, tuning=method)


def trainable(stack):
    return sum(value.numel() for value in stack.parameters() if value.requires_grad)


@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_lora_on_gpt2_small_trains_as_many_parameters_as_the_paper_says(rank):
    # Table 3 of the paper: 0.04 / 0.07 / 0.15 / 0.30 M, rank-r on the fused c_attn of 12 blocks.
    with torch.device("meta"):
        stack = GPT2Model(GPT2Config())
        tune(stack, f"lora:{rank}", seed=0)
    assert trainable(stack) == 36_864 * rank


SMALL = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "pad_token_id": 0}


@pytest.mark.parametrize(
    ("config", "projections"),
    [
        (Qwen2Config(**SMALL, **HEADS), {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (Phi3Config(**SMALL, **HEADS), {"qkv_proj", "o_proj"}),
        (GPTNeoXConfig(**SMALL, **HEADS), {"query_key_value", "dense"}),
    ],
)
def test_lora_finds_the_attention_of_other_families(config, projections):
    stack = tune(AutoModel.from_config(config), "lora:2", seed=0)
    names = [
        name.partition(".lora_A")[0] for name, _ in stack.named_parameters() if "lora_A" in name
    ]
    assert {name.rpartition(".")[2] for name in names} == projections
    assert len(names) == 2 * len(projections)


def test_a_family_without_attention_is_named():
    stack = AutoModel.from_config(MambaConfig(**SMALL, state_size=4))
    with pytest.raises(ConfigError, match=r"'lora:2', which peft does not have .* family mamba"):
        tune(stack, "lora:2", seed=0)


def test_auto_is_lora(tmp_path):
    assert parse_tuning("auto") == parse_tuning("lora:16")
    stack = AutoModel.from_pretrained(save_tiny_llm("llama", tmp_path))
    assert trainable(tune(stack, "auto", seed=0)) == trainable(
        tune(AutoModel.from_pretrained(tmp_path), "lora:16", seed=0)
    )


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


def test_low_rank_products_are_in_the_bfloat16_of_the_llm(tmp_path):
    llm = load(save_tiny_llm("llama", tmp_path), "lora:2", dtype="bfloat16")
    products = []
    for name, module in llm.named_modules():
        if name.endswith(("lora_A.default", "lora_B.default")):
            module.register_forward_hook(lambda *call: products.append(call[-1].dtype))
    llm(torch.randn(1, 3, 32), torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert set(products) == {torch.bfloat16}
    gradients = {value.grad.dtype for value in llm.parameters() if value.grad is not None}
    assert gradients == {torch.float32}


@pytest.mark.parametrize("method", ["lora", "lora:0", "lora:x", "prefix", "first:2", "frist"])
def test_another_method_is_refused_with_those_there_are(method):
    with pytest.raises(ConfigError, match=r"expected one of auto, basic, bias, first, .* lora:R"):
        parse_tuning(method)


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("bias", 102_144),
        ("first", 7_087_872),
        ("last", 7_087_872),
        ("first+last", 2 * 7_087_872),
        ("prompt:1", 768),
        ("prompt:8", 8 * 768),
        ("prefix:1", 18_432),
        ("prefix:4", 4 * 18_432),
        # Everything but the 50,257 token embeddings of width 768.
        ("full", 124_439_808 - 50_257 * 768),
    ],
)
def test_gpt2_small_trains_as_many_parameters_as_the_paper_says(method, count):
    with torch.device("meta"):
        network = tune(GPT2Model(GPT2Config()), method, seed=0)
    assert trainable(network) == count


@pytest.mark.parametrize("family", [*FAMILIES, "opt-projected"])
@pytest.mark.parametrize(
    "method", ["bias", "first", "last", "first+last", "full", "lora:2", "prompt:3", "prefix:3"]
)
def test_every_method_trains_what_it_says_and_nothing_else(family, method, tmp_path):
    save_tiny_llm(family, tmp_path)
    if (family, method) == ("llama", "bias"):
        with pytest.raises(ConfigError, match="this LLM has no biases"):
            load(tmp_path, method)
        return
    llm = load(tmp_path, method)
    before = {name: value.detach().clone() for name, value in llm.named_parameters()}
    tokens = torch.randn(2, 5, llm.width_in)
    states = llm(tokens, torch.ones(2, 5, dtype=torch.bool))
    assert states.shape == (2, 5, llm.width_out)
    states.square().sum().backward()
    for name, value in llm.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name
        assert torch.equal(value, before[name])


def test_prompt_tokens_stand_in_front_of_the_input(tmp_path):
    llm = load(save_tiny_llm("llama", tmp_path), "prompt:3")
    plain = AutoModel.from_pretrained(tmp_path).eval()
    (prompt,) = [value for value in llm.parameters() if value.requires_grad]
    tokens = torch.randn(2, 5, 32)
    whole = torch.cat([prompt.expand(2, -1, -1), tokens], dim=1)
    expected = plain(inputs_embeds=whole).last_hidden_state[:, 3:]
    got = llm(tokens, torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(got, expected)


def test_a_prefix_is_attended_to_and_shifts_positions(tmp_path):
    llm = load(save_tiny_llm("llama", tmp_path), "prefix:3")
    (prefix,) = [value for value in llm.parameters() if value.requires_grad]
    torch.nn.init.normal_(prefix)
    tokens = torch.randn(1, 5, 32)
    cache = DynamicCache()
    # (tokens, layers * 2 * heads * head width) -> keys and values of each block.
    parts = prefix.view(1, 3, 2 * 2, 2, 8).permute(2, 0, 3, 1, 4)
    for block in range(2):
        cache.update(parts[2 * block], parts[2 * block + 1], block)
    plain = AutoModel.from_pretrained(tmp_path).eval()
    expected = plain(inputs_embeds=tokens, **{name_of_past(plain): cache}).last_hidden_state
    got = llm(tokens, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("method", ["prompt:4", "prefix:4"])
def test_virtual_tokens_take_positions(tmp_path, method):
    assert load(save_tiny_llm("gpt2", tmp_path), method).max_positions == POSITIONS - 4


def test_own_weights_are_trained_in_float32_whatever_the_arithmetic(tmp_path):
    llm = load(save_tiny_llm("llama", tmp_path), "first", dtype="bfloat16")
    assert {value.dtype for value in llm.parameters()} == {torch.float32}
    assert llm.identity.dtype == "bfloat16"
    plain = load(tmp_path, "basic", dtype="bfloat16")
    tokens, valid = torch.randn(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(llm(tokens, valid), plain(tokens, valid), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("method", ["prompt:2", "prefix:2"])
def test_virtual_tokens_are_refused_for_t5(tmp_path, method):
    with pytest.raises(ConfigError, match="for T5 use lora:R"):
        load(save_tiny_llm("t5", tmp_path), method)


def test_lora_finds_the_projections_of_t5(tmp_path):
    llm = load(save_tiny_llm("t5", tmp_path), "lora:2", stack="encoder")
    # 2 blocks, 4 projections of 32 x 32: A and B each.
    assert trainable(llm) == 2 * 4 * 2 * (32 * 2)


def test_a_prefix_and_gradient_checkpointing_exclude_each_other(tmp_path):
    save_tiny_llm("llama", tmp_path)
    with pytest.raises(ConfigError, match="does not go with tuning 'prefix:N'"):
        load(tmp_path, "prefix:2", gradient_checkpointing=True)


@pytest.mark.parametrize("method", ["full", "lora:2", "prompt:2", "prefix:2"])
@pytest.mark.parametrize("family", [*FAMILIES, "gemma3"])
def test_padding_changes_no_row_whatever_is_trained(family, method, tmp_path):
    llm = load(save_tiny_llm(family, tmp_path), method)
    for value in llm.parameters():
        if value.requires_grad:  # a prefix and half of LoRA start as zeros
            torch.nn.init.normal_(value, std=0.1)
    tokens = torch.randn(2, 9, llm.width_in)
    valid = torch.arange(9) < torch.tensor([[4], [9]])
    alone = llm(tokens[:1, :4], valid[:1, :4])
    torch.testing.assert_close(llm(tokens, valid)[:1, :4], alone, atol=1e-5, rtol=1e-5)
