"""Tiny random LLMs of several families, saved to disk like downloaded ones, for tests."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    Gemma3TextConfig,
    Gemma3TextModel,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    OPTConfig,
    OPTModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5Model,
)

WIDTH = 32
LAYERS = 2
POSITIONS = 64


def save_tiny_llm(family: str, folder: Path) -> Path:
    """Save a random LLM with 2 blocks of width 32; ``opt-projected`` embeds into width 16."""
    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    BUILDERS[family]().save_pretrained(folder)
    return folder


def _gpt2():
    return GPT2Model(
        GPT2Config(vocab_size=50, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=POSITIONS)
    )


def _opt(**settings):
    return OPTModel(
        OPTConfig(
            vocab_size=50,
            hidden_size=WIDTH,
            ffn_dim=48,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            max_position_embeddings=POSITIONS,
            **settings,
        )
    )


def _opt_projected():
    """Like OPT-350m: narrower embeddings, norms behind the blocks, no final norm."""
    return _opt(word_embed_proj_dim=16, do_layer_norm_before=False)


def _opt_plain():
    return _opt(word_embed_proj_dim=WIDTH)


def _llama():
    return LlamaModel(
        LlamaConfig(
            vocab_size=50,
            hidden_size=WIDTH,
            intermediate_size=48,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=POSITIONS,
        )
    )


GROUPED_HEADS = {
    "vocab_size": 50,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": POSITIONS,
}


def _qwen3():
    return Qwen3Model(Qwen3Config(**GROUPED_HEADS))


def _gemma3():
    """Scales its token embeddings; its blocks take turns with a sliding window."""
    return Gemma3TextModel(Gemma3TextConfig(**GROUPED_HEADS, sliding_window=4))


def _t5():
    return T5Model(
        T5Config(
            vocab_size=50,
            d_model=WIDTH,
            d_kv=8,
            d_ff=48,
            num_layers=LAYERS,
            num_heads=4,
            decoder_start_token_id=0,
        )
    )


def save_tiny_tokenizer(folder: Path, words="where is it the cat dog") -> Path:
    """Save a tokenizer of one token per word beside an LLM."""
    known = {word: place for place, word in enumerate(["<unk>", "<end>", *words.split()])}
    model = Tokenizer(WordLevel(known, unk_token="<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unk>", eos_token="<end>")
    fast.save_pretrained(folder)
    return folder


BUILDERS = {
    "t5": _t5,
    "qwen3": _qwen3,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "opt": _opt_plain,
    "opt-projected": _opt_projected,
    "llama": _llama,
}
