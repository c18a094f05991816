"""What of the LLM is trained besides translator and heads (paper, section 3).

    basic        nothing
    bias         every bias (BitFit)
    first, last, first+last    whole blocks
    lora:R       low-rank updates of rank R on the attention projections
    prompt:N     N learned input tokens in front
    prefix:N     N learned keys and values in front, in every block
    full         everything but the token embeddings, which only queries use

LoRA, prompt and prefix are peft's. What is trained is kept in float32 whatever the LLM's dtype.
"""

import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cache_schema.errors import ConfigError
from train.config import AUTO_TUNING

if TYPE_CHECKING:  # slow to import, and not every run has an adapter
    from peft import PeftConfig

__all__ = [
    "METHODS",
    "SIZED",
    "Tuning",
    "blocks_of",
    "multiply_in_autocast",
    "parse_tuning",
    "tune",
]

PLAIN = ("basic", "bias", "first", "last", "first+last", "full")
SIZED = ("lora", "prompt", "prefix")
METHODS = ("auto", *PLAIN, "lora:R", "prompt:N", "prefix:N")

ATTENTION = {
    "gpt2": ["c_attn"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "t5": ["q", "k", "v", "o"],
}
"""Family -> its attention projections; GPT-2's are fused, as in the paper's counts."""

ATTENTION_OF_OTHERS = [
    *("q_proj", "k_proj", "v_proj", "o_proj"),  # LLaMA-like: Qwen, Gemma, Mistral ...
    *("qkv_proj", "query_key_value", "dense"),  # fused: Phi-3; GPT-NeoX (Pythia), BLOOM, Falcon
]
"""What else such projections are called; a family has some of these."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A method and its size."""

    kind: str
    """One of ``PLAIN`` or ``SIZED``."""
    size: int = 0
    """Rank, or number of learned tokens, of a sized method."""

    @property
    def trains_own_weights(self) -> bool:
        """Whether weights of the LLM itself change, which takes float32 weights."""
        return self.kind in PLAIN and self.kind != "basic"

    @property
    def num_prompt_tokens(self) -> int:
        """Learned tokens that are positions of the input and have a state."""
        return self.size if self.kind == "prompt" else 0

    @property
    def num_virtual_tokens(self) -> int:
        """Positions that the method takes from the LLM."""
        return self.size if self.kind in {"prompt", "prefix"} else 0


def parse_tuning(method: str) -> Tuning:
    """Return what a method's name says.

    Raises:
        ConfigError: on anything that is not one of ``METHODS``.

    Examples:
        >>> parse_tuning("lora:16")
        Tuning(kind='lora', size=16)
    """
    if method == "auto":
        return parse_tuning(AUTO_TUNING)
    if method in PLAIN:
        return Tuning(method)
    match = re.fullmatch(rf"({'|'.join(SIZED)}):([1-9]\d*)", method)
    if match is None:
        raise ConfigError(
            f"tuning is '{method}', expected one of {', '.join(METHODS)}; R is a rank such as 8, "
            "N a number of tokens such as 16."
        )
    return Tuning(match[1], int(match[2]))


def tune(stack: nn.Module, method: str, *, seed: int) -> nn.Module:
    """Freeze a stack but for what ``method`` trains; return it, or peft's model around it.

    Args:
        stack: The LLM's blocks, changed in place.
        method: See ``METHODS``.
        seed: Of an adapter's weights.

    Raises:
        ConfigError: if the LLM does not have what the method trains.
    """
    tuning = parse_tuning(method)
    stack.requires_grad_(False)
    if tuning.kind in SIZED:
        return _add_adapter(stack, tuning, seed)
    for value in _own_parameters(stack, tuning.kind):
        value.requires_grad_(True)
    return stack


def multiply_in_autocast(adapted: nn.Module) -> None:
    """Have peft not copy what a projection reads into the float32 of its low-rank weights.

    The products are then in what ``torch.autocast`` says, within which it has to be called. In
    bfloat16 a step is a tenth faster on a CPU, and about as far from a float32 LLM's (2 % of a
    state, as without); on a GPU float32 products leave the tensor cores unused.
    """
    from peft.tuners.lora import LoraLayer

    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def _own_parameters(stack: nn.Module, kind: str) -> Iterator[nn.Parameter]:
    if kind == "bias":
        biases = [value for name, value in stack.named_parameters() if name.endswith("bias")]
        if not biases:
            raise ConfigError(
                "tuning is 'bias', but this LLM has no biases (LLaMA-like ones have none). Choose "
                "another method, such as lora:8."
            )
        yield from biases
    elif kind == "full":
        embedding = stack.get_input_embeddings().weight  # type: ignore[operator]
        yield from (value for value in stack.parameters() if value is not embedding)
    elif kind != "basic":
        blocks = blocks_of(stack)
        chosen = {"first": [blocks[0]], "last": [blocks[-1]], "first+last": [blocks[0], blocks[-1]]}
        for block in chosen[kind]:
            yield from block.parameters()


def blocks_of(stack: nn.Module) -> nn.ModuleList:
    """Return the list of blocks; families name it h, layers or block."""
    settings: Any = stack.config
    for module in stack.modules():
        if isinstance(module, nn.ModuleList) and len(module) == settings.num_hidden_layers:
            return module
    raise ConfigError(f"the blocks of a {settings.model_type} LLM were not found; use lora:R.")


def _add_adapter(stack: nn.Module, tuning: Tuning, seed: int) -> nn.Module:
    from peft import get_peft_model

    torch.manual_seed(seed)
    with warnings.catch_warnings():
        # peft asks transformers by an old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        try:
            adapted: nn.Module = get_peft_model(stack, _adapter_config(stack, tuning))
        except ValueError as error:
            family: Any = stack.config
            raise ConfigError(
                f"tuning is '{tuning.kind}:{tuning.size}', which peft does not have for LLMs of "
                f"the family {family.model_type}. Choose another method, such as first+last."
            ) from error
    for name, value in adapted.named_parameters():
        if value.requires_grad:
            value.data = value.data.float()
            if "lora_A" in name:
                # Projections of the same variance at any rank (He et al., 2015, fan-in).
                nn.init.normal_(value, std=1 / math.sqrt(value.shape[1]))
            elif "prompt_encoder" in name and tuning.kind == "prompt":
                _init_prompt(value, stack)
    return adapted


def _adapter_config(stack: nn.Module, tuning: Tuning) -> "PeftConfig":
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig

    settings: Any = stack.config
    if tuning.kind == "lora":
        return LoraConfig(
            r=tuning.size,
            lora_alpha=tuning.size,  # scale 1: the learning rate alone decides how far it goes
            target_modules=ATTENTION.get(settings.model_type, ATTENTION_OF_OTHERS),
            fan_in_fan_out=settings.model_type == "gpt2",
        )
    if settings.is_encoder_decoder or settings.model_type == "t5":
        raise ConfigError(
            f"tuning is '{tuning.kind}:{tuning.size}', which peft has for decoder-only LLMs; for "
            "T5 use lora:R."
        )
    common: dict[str, Any] = {"task_type": "FEATURE_EXTRACTION", "num_virtual_tokens": tuning.size}
    if tuning.kind == "prompt":
        width = stack.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
        return PromptTuningConfig(**common, token_dim=width)
    # Zero keys and values: it starts as near to the frozen LLM as a prefix can.
    return PrefixTuningConfig(**common, init_weights="zero")


def _init_prompt(prompt: nn.Parameter, stack: nn.Module) -> None:
    """Start at the scale of the LLM's own token embeddings."""
    with torch.no_grad():
        weight = stack.get_input_embeddings().weight  # type: ignore[operator]
        prompt.copy_(torch.randn_like(prompt) * weight.float().std())
