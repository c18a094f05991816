"""Which attention an LLM is trained with, where the usual choice is the slower one.

In bfloat16 on a CPU the backward pass of torch's fused attention takes several times as long as the
plain products of matrices, as long as these are small; docs/performance.md has the measurement.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from train.config import LlmConfig

__all__ = ["eager_attention", "most_eager_tokens"]

EAGER_TOKENS = 256
"""Longer inputs are faster with the fused kernel, which skips what is masked."""

FAMILIES = ("llama", "qwen3", "gemma3_text")
"""Whose plain products keep the softmax in float32, as the fused kernel does. OPT's do not: their
rounding errors are four times as large."""


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
    usual = settings._attn_implementation
    if usual == "sdpa" and settings.model_type in FAMILIES:
        settings._attn_implementation = "eager"
    try:
        yield
    finally:
        settings._attn_implementation = usual
