"""Pretrained networks from where they lie: a hub id, a local folder, a GGUF file, a package.

Name in; a place that transformers loads from, whole weights, and an identity out.
"""

import copy
import hashlib
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, PretrainedConfig

from cache_schema.errors import ConfigError
from train.model.complete_weights import load_complete
from train.model.gguf_file import converted, smollm2_gguf

__all__ = [
    "hub_name",
    "llm_source",
    "read_lm_head",
    "read_weights",
    "weights_sha256",
]

SMOLLM2_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Whose weights, rounded to four bits, the package holds."""


def llm_source(name: str) -> str:
    """Return what ``from_pretrained`` takes for a name: a folder or a hub id.

    Of a GGUF file that is where its weights lie, converted.

    Raises:
        ConfigError: if ``smollm2`` is asked for and its package is not installed, or a GGUF file is
            not there.
    """
    if name == "smollm2":
        return str(converted(smollm2_gguf()))
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise ConfigError(f"llm '{name}': there is no such file. Check the path.")
        return str(converted(Path(name)))
    return name


def hub_name(name: str) -> str:
    """Return the name of an LLM on the hub; empty if it is a folder or file.

    >>> hub_name("smollm2"), hub_name("gpt2"), hub_name("/models/opt"), hub_name("./opt")
    ('HuggingFaceTB/SmolLM2-135M-Instruct', 'gpt2', '', '')
    """
    if name == "smollm2":
        return SMOLLM2_ON_HUB
    is_place = name.startswith(("/", ".", "~")) or name.endswith(".gguf") or Path(name).exists()
    return "" if is_place else name


def read_weights(source: str, settings: PretrainedConfig, dtype: torch.dtype) -> nn.Module:
    """Return the stack of a folder or hub id with all its weights.

    Raises:
        ConfigError: if some are missing from its files; they would be random.
    """
    stack: nn.Module = load_complete(AutoModel, source, config=settings, dtype=dtype)
    return stack


def read_lm_head(source: str, settings: PretrainedConfig, dtype: torch.dtype) -> nn.Module:
    """Return the layer that turns states into logits, of an LLM that has one of its own.

    Args:
        source: Folder or hub id.
        settings: As the stack was built with.
        dtype: Of its weights.

    Raises:
        ConfigError: if it is missing from the files.
    """
    shallow = copy.deepcopy(settings)
    shallow.num_hidden_layers = 1  # no more of the stack is read than must be
    whole = load_complete(AutoModelForCausalLM, source, config=shallow, dtype=dtype)
    head: nn.Module = whole.get_output_embeddings()
    return head


def weights_sha256(stack: nn.Module) -> str:
    """Return the SHA-256 over names, shapes and bytes of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(stack.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
