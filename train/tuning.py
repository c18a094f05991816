"""What of the LLM is trained besides translator and heads (paper, section 3).

``basic`` freezes it. ``lora:R`` adds low-rank updates of rank R to the attention projections,
through peft; the LLM's own weights stay frozen. The adapter starts as the identity.
"""

import math
import re
from typing import Any

import torch
from torch import nn

from cache_schema.errors import ConfigError

__all__ = ["METHODS", "parse_tuning", "tune"]

METHODS = ("basic", "lora:R")

ATTENTION = {
    "gpt2": ["c_attn"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "t5": ["q", "k", "v", "o"],
}
"""Family -> its attention projections; GPT-2's are fused, as in the paper's counts."""

ATTENTION_OF_OTHERS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def parse_tuning(method: str) -> int:
    """Return the rank of ``lora:R``, 0 for ``basic``.

    Raises:
        ConfigError: on anything else.

    >>> parse_tuning("basic"), parse_tuning("lora:16")
    (0, 16)
    """
    if method == "basic":
        return 0
    match = re.fullmatch(r"lora:([1-9]\d*)", method)
    if match is None:
        raise ConfigError(
            f"tuning is '{method}', expected {' or '.join(METHODS)}, R a rank such as 8."
        )
    return int(match[1])


def tune(stack: nn.Module, method: str, *, seed: int) -> None:
    """Freeze a stack and add what ``method`` trains, in float32 whatever the stack's dtype.

    Args:
        stack: The LLM's blocks.
        method: See ``METHODS``.
        seed: Of the adapter's weights.
    """
    stack.requires_grad_(False)
    if rank := parse_tuning(method):
        _add_lora(stack, rank, seed)


def _add_lora(stack: nn.Module, rank: int, seed: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    settings: Any = stack.config
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,  # scale 1: the learning rate alone decides how far it goes
        target_modules=ATTENTION.get(settings.model_type, ATTENTION_OF_OTHERS),
        fan_in_fan_out=settings.model_type == "gpt2",
    )
    inject_adapter_in_model(config, stack)
    for name, value in stack.named_parameters():
        if value.requires_grad:
            value.data = value.data.float()
            if "lora_A" in name:
                # Projections of the same variance at any rank (He et al., 2015, fan-in).
                nn.init.normal_(value, std=1 / math.sqrt(value.shape[1]))
