"""Tiny random LLMs of several families, saved to disk like downloaded ones, for tests."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel, OPTConfig, OPTModel

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


BUILDERS = {
    "gpt2": _gpt2,
    "opt": _opt_plain,
    "opt-projected": _opt_projected,
    "llama": _llama,
}
