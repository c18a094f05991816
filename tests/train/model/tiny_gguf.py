"""A tiny random LLM with its tokenizer as a GGUF file, for tests."""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter

WIDTH = 32
HEADS = 4
INNER = 48
LAYERS = 2
WORDS = ["<unk>", "<s>", "</s>", "a", "b", "ab"]


def save_tiny_gguf(path: Path, *, without: str = "", has_own_head: bool = False) -> Path:
    """Write a LLaMA-like network of two blocks and a tokenizer of six tokens.

    Args:
        path: A file.
        without: The tensor that is left out.
        has_own_head: Whether its LM head is not its token embeddings.
    """
    writer = GGUFWriter(path, "llama")
    _add_settings(writer)
    _add_tokenizer(writer)
    rng = np.random.default_rng(0)
    head = {"output": (len(WORDS), WIDTH)} if has_own_head else {}
    for name, shape in (_shapes() | head).items():
        if name == without:
            continue
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_settings(writer: GGUFWriter) -> None:
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(0)
    writer.add_vocab_size(len(WORDS))


def _add_tokenizer(writer: GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([1] * len(WORDS))
    writer.add_token_merges(["a b"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _shapes() -> dict[str, tuple[int, ...]]:
    """Return the tensors by the names that llama.cpp gives them."""
    block = {
        "attn_norm": (WIDTH,),
        "ffn_norm": (WIDTH,),
        **{f"attn_{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }
    blocks = {
        f"blk.{number}.{name}": shape for number in range(LAYERS) for name, shape in block.items()
    }
    return {"token_embd": (len(WORDS), WIDTH), "output_norm": (WIDTH,), **blocks}
