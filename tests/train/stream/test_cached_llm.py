import pytest
import torch
from transformers import RwkvConfig, RwkvModel

from cache_schema.errors import ConfigError
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.stream.streaming import sharpen
from train.config import LlmConfig
from train.model.llm import load_llm
from train.stream.cached_llm import CachedLlm, name_of_past

NUM_TOKENS = 24
METHODS = ("basic", "bias", "first+last", "full", "lora:4", "prompt:3", "prefix:3")
FAMILIES = ("gpt2", "opt", "opt-projected", "llama", "qwen3", "gemma3", "t5")
IMPOSSIBLE = {("bias", family) for family in ("llama", "qwen3", "gemma3", "t5")} | {
    (method, "t5") for method in ("prompt:3", "prefix:3")
}
CASES = [
    (family, method)
    for family in FAMILIES
    for method in METHODS
    if (method, family) not in IMPOSSIBLE
]


def load(folder, family, tuning="basic", dtype="float32", **settings):
    name = str(save_tiny_llm(family, folder))
    config = LlmConfig(name=name, num_layers=0, dtype=dtype, **settings)
    llm = load_llm(config, torch.device("cpu"), seed=0, tuning=tuning).eval()
    sharpen(llm)
    return llm


def tokens_of(llm, count=NUM_TOKENS):
    tokens = torch.randn(1, count, llm.width_in, generator=torch.Generator().manual_seed(3))
    return tokens * llm.embedding_rms


def whole(llm, tokens):
    with torch.inference_mode():
        return llm(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


def in_pieces(cached, tokens, sizes):
    return torch.cat([cached.read(piece) for piece in tokens.split(sizes, dim=1)], dim=1)


def difference(got, expected):
    """Of the largest state."""
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("family", "method"), CASES)
def test_pieces_give_the_states_of_the_whole(tmp_path, family, method):
    llm = load(tmp_path, family, method)
    tokens = tokens_of(llm)
    cached = CachedLlm(llm, NUM_TOKENS)
    for sizes in ([9, *[1] * 12, 3], [1] * NUM_TOKENS):
        assert difference(in_pieces(cached, tokens, sizes), whole(llm, tokens)) < 1e-5
        assert cached.num_cached >= llm.tuning.num_virtual_tokens
        cached.forget()


@pytest.mark.parametrize("method", ["basic", "full", "lora:4", "prefix:3"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_in_bfloat16_pieces_differ_no_more_than_the_dtype_rounds(tmp_path, family, method):
    llm = load(tmp_path, family, method, dtype="bfloat16")
    exact = load(tmp_path, family, method)
    tokens = tokens_of(llm)
    expected = whole(llm, tokens)
    rounding = difference(expected, whole(exact, tokens))
    got = in_pieces(CachedLlm(llm, NUM_TOKENS), tokens, [9, *[1] * 12, 3])
    assert rounding > 1e-3  # it does compute in bfloat16
    assert difference(got, expected) < 2 * rounding


def test_earlier_tokens_matter(tmp_path):
    # Else the equalities above would say nothing about keys and values.
    for family in FAMILIES:
        llm = load(tmp_path / family, family)
        tokens = tokens_of(llm)
        changed = tokens.clone()
        changed[:, 0 if family != "gemma3" else -3] *= -1
        last = whole(llm, tokens)[:, -1]
        assert difference(whole(llm, changed)[:, -1], last) > 1e-3, family


def test_only_new_tokens_enter_the_blocks(tmp_path):
    llm = load(tmp_path, "llama", "prompt:3")
    cached = CachedLlm(llm, NUM_TOKENS)
    entered = []
    llm.stack.layers[0].register_forward_pre_hook(
        lambda module, args: entered.append(args[0].shape[1])
    )
    in_pieces(cached, tokens_of(llm), [9, *[1] * 12, 3])
    assert entered == [3 + 9, *[1] * 12, 3]
    assert cached.num_cached == 3 + NUM_TOKENS


def test_what_was_read_is_forgotten(tmp_path):
    llm = load(tmp_path, "gpt2", "prefix:3")
    cached = CachedLlm(llm, NUM_TOKENS)
    first = cached.read(tokens_of(llm))
    assert cached.num_cached == 3 + NUM_TOKENS
    cached.forget()
    assert cached.num_cached == 3
    assert torch.equal(cached.read(tokens_of(llm)), first)


def test_one_token_is_enough_to_begin(tmp_path):
    llm = load(tmp_path, "llama")
    cached = CachedLlm(llm, 1)
    tokens = tokens_of(llm, 1)
    assert difference(cached.read(tokens), whole(llm, tokens)) < 1e-6


def test_a_stack_that_reads_both_ways_is_refused(tmp_path):
    llm = load(tmp_path, "t5", stack="encoder")
    with pytest.raises(ConfigError, match=r"reads in both directions \(llm.stack = 'encoder'\)"):
        CachedLlm(llm, NUM_TOKENS)


def test_a_family_without_keys_and_values_is_refused(tmp_path):
    torch.manual_seed(7)
    settings = RwkvConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2)
    RwkvModel(settings).save_pretrained(tmp_path)
    config = LlmConfig(name=str(tmp_path), num_layers=0, dtype="float32")
    llm = load_llm(config, torch.device("cpu"), seed=0).eval()
    with pytest.raises(ConfigError, match=r"\(family rwkv\): 24 tokens read in pieces give other"):
        CachedLlm(llm, NUM_TOKENS)


@pytest.mark.parametrize(
    ("family", "shape"), [("llama", (1, 1, 1, 10)), ("gpt2", None), ("gemma3", None)]
)
def test_heads_that_share_keys_get_a_mask_that_hides_nothing(tmp_path, family, shape):
    llm = load(tmp_path, family)
    cached = CachedLlm(llm, NUM_TOKENS)
    masks = []
    llm.stack.register_forward_pre_hook(
        lambda module, args, kwargs: masks.append(kwargs.get("attention_mask")), with_kwargs=True
    )
    in_pieces(cached, tokens_of(llm, 10), [9, 1])
    assert masks[0] is None
    assert (None if masks[1] is None else tuple(masks[1].shape)) == shape


def test_the_past_is_given_by_the_name_that_transformers_has_for_it():
    class Older(torch.nn.Module):
        def forward(self, inputs_embeds, past_key_values=None, use_cache=None):
            """As until transformers 5.24."""

    class Newer(torch.nn.Module):
        def forward(self, inputs_embeds, cache=None, use_cache=None):
            """As since then; the older name ends with 5.40."""

    assert name_of_past(Older()) == "past_key_values"
    assert name_of_past(Newer()) == "cache"
