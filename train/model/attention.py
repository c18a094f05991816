"""How an LLM computes attention, where the usual way is the slower one.

In bfloat16 on a CPU the backward pass of torch's fused attention takes several times as long as the
plain products of matrices, as long as these are small; docs/performance.md has the measurement.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from train.config import LlmConfig

__all__ = ["causal_attention", "eager_attention", "most_eager_tokens"]

EAGER_TOKENS = 256
"""Longer inputs are faster with the fused kernel, which skips what is masked."""

FAMILIES = ("llama", "qwen3", "gemma3_text")
"""Whose plain products keep the softmax in float32, as the fused kernel does. OPT's do not: their
rounding errors are four times as large."""


CAUSAL = "sdpa_causal"
"""The fused kernel by a name for which transformers makes no mask: to find out that none is needed
it would wait for a GPU."""
AttentionInterface.register(CAUSAL, sdpa_attention_forward)


def most_eager_tokens(config: LlmConfig, device: torch.device, dtype: torch.dtype) -> int:
    """Return up to how many tokens training is faster without the fused kernel; 0 for never.

    Args:
        config: A choice of its own counts. Blocks that are computed again in the backward pass, or
            compiled, keep one attention.
        device: Where the LLM runs.
        dtype: Of its arithmetic.
    """
    is_free = config.attention == "auto" and not (config.gradient_checkpointing or config.compile)
    return EAGER_TOKENS if is_free and device.type == "cpu" and dtype == torch.bfloat16 else 0


@contextmanager
def eager_attention(stack: nn.Module) -> Iterator[None]:
    """Let a stack compute attention by plain products of matrices, if that is as exact as SDPA."""
    settings: Any = stack.config
    chosen = "eager" if settings.model_type in FAMILIES else "sdpa"
    with _instead_of_sdpa(settings, chosen):
        yield


@contextmanager
def causal_attention(stack: nn.Module) -> Iterator[None]:
    """Let each token see itself and all before it, without a mask that says so."""
    with _instead_of_sdpa(stack.config, CAUSAL):
        yield


@contextmanager
def _instead_of_sdpa(settings: Any, chosen: str) -> Iterator[None]:  # noqa: ANN401 - transformers has no types
    usual = settings._attn_implementation
    if usual == "sdpa":
        settings._attn_implementation = chosen
    try:
        yield
    finally:
        settings._attn_implementation = usual
