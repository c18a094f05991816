"""The LLM read piece by piece: only new tokens pass through its blocks.

Keys and values of earlier tokens are kept (transformers' cache), so a piece costs its own tokens
through the blocks and attention over the past. What a tuning method puts in front of the input
(prompt: tokens, prefix: keys and values) is put there once, with the first piece.

Shapes: a batch of one, N tokens of a piece, E width of the LLM's embeddings.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from cache_schema.errors import ConfigError
from train.model.llm import LanguageModel
from train.stream.packed_linears import PackedLinears

__all__ = ["CachedLlm", "name_of_past"]

LARGEST_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.1}
"""Of the largest state, between reading at once and in pieces. Rounding stays far below (1.4e-2 for
all 30 blocks of SmolLM2 in bfloat16); what is read without its past differs by 0.2 and more."""


class CachedLlm:
    """What an LLM has read, and its states for what is read next."""

    def __init__(self, llm: LanguageModel, max_tokens: int) -> None:
        """Begin with nothing read.

        Args:
            llm: In evaluation mode.
            max_tokens: Longest input that will be read before ``forget``.

        Raises:
            ConfigError: if pieces would not give the states that the whole input gives.
        """
        if not llm.is_causal:
            raise ConfigError(
                f"llm '{llm.identity.name}' reads in both directions (llm.stack = 'encoder'): a "
                "state changes with what comes after it, so rows cannot be answered one by one. "
                "Train with llm.stack = 'decoder'."
            )
        self._llm = llm
        self._packed = PackedLinears(llm.stack)
        self._name_of_past = name_of_past(llm.stack)
        self._cache = self._front()
        self._all_seen = self._mask(max_tokens)
        self._check(max_tokens)
        self.forget()

    @property
    def num_cached(self) -> int:
        """Tokens whose keys and values are kept; those of a prompt or prefix count, too."""
        return int(self._cache.get_seq_length())

    def forget(self) -> None:
        """Begin anew."""
        self._cache = self._front()

    @torch.inference_mode()
    def read(self, tokens_1NE: Tensor) -> Tensor:
        """Return the states (1, N, E) of the tokens that come next, in float32."""
        inputs_1ME = tokens_1NE
        if self._llm.tuning.num_prompt_tokens and not self.num_cached:
            inputs_1ME = torch.cat([self._learned(), tokens_1NE], dim=1)
        inputs: dict[str, object] = {self._name_of_past: self._cache, "use_cache": True}
        if self._all_seen is not None and inputs_1ME.shape[1] == 1:
            inputs["attention_mask"] = self._all_seen[..., : self.num_cached + 1]
        with self._packed.in_use():
            states_1ME = self._llm.run(self._llm.stack, inputs_1ME, **inputs)
        return states_1ME[:, -tokens_1NE.shape[1] :]

    def _mask(self, max_tokens: int) -> Tensor | None:
        """Return a mask (1, 1, 1, keys) that hides nothing, where it makes a step faster.

        Without a mask, transformers asks SDPA for one token of query heads that share keys in a way
        that is slow on a CPU; with one it puts the sharing heads side by side (a step of SmolLM2
        takes 12 % less).
        """
        settings: Any = self._llm.stack.config
        heads = getattr(settings, "num_attention_heads", 0)
        shares_keys = getattr(settings, "num_key_value_heads", None) not in (None, heads)
        is_whole = not any(getattr(layer, "is_sliding", False) for layer in self._cache.layers)
        if not (shares_keys and is_whole and settings._attn_implementation == "sdpa"):
            return None
        device = next(self._llm.parameters()).device
        keys = max_tokens + self._llm.tuning.num_virtual_tokens
        return torch.ones(1, 1, 1, keys, dtype=torch.bool, device=device)

    def _front(self) -> DynamicCache:
        """Return the cache of an input that has not begun, with the prefix if there is one."""
        if self._llm.tuning.kind == "prefix":
            prefix: DynamicCache = self._learned()
            return prefix
        settings: Any = self._llm.stack.config
        return DynamicCache(config=settings)

    @torch.inference_mode()
    def _learned(self) -> Any:  # noqa: ANN401 - peft has no types
        """Return what peft puts in front: tokens (1, N, E) of a prompt, the cache of a prefix."""
        network: Any = self._llm.network
        return network.get_prompt(1)

    @torch.inference_mode()
    def _check(self, max_tokens: int) -> None:
        """Compare pieces with the whole, since families of LLMs keep their past differently."""
        device = next(self._llm.parameters()).device
        generator = torch.Generator().manual_seed(0)
        tokens_1NE = torch.randn(1, max_tokens, self._llm.width_in, generator=generator)
        tokens_1NE = (tokens_1NE * self._llm.embedding_rms).to(device)
        valid_1N = torch.ones(tokens_1NE.shape[:2], dtype=torch.bool, device=device)
        whole_1NE = self._llm(tokens_1NE, valid_1N)
        middle = max_tokens // 2
        borders = sorted((middle, middle + 1, max_tokens - 1))  # in order for two tokens, too
        pieces = tokens_1NE.tensor_split(borders, dim=1)
        states_1NE = torch.cat([self.read(piece) for piece in pieces if piece.shape[1]], dim=1)
        difference = float((states_1NE - whole_1NE).abs().max() / whole_1NE.abs().max())
        if not difference <= LARGEST_DIFFERENCE[self._llm.identity.dtype]:
            settings: Any = self._llm.stack.config
            raise ConfigError(
                f"llm '{self._llm.identity.name}' (family {settings.model_type}): {max_tokens} "
                f"tokens read in pieces give other states than read at once, by {difference:.1g} "
                "of the largest. This family cannot be streamed; predict with vllm-predict."
            )


def name_of_past(stack: nn.Module) -> str:
    """Return what transformers calls the argument for the past: until 5.24 it was another."""
    arguments = inspect.signature(stack.forward).parameters
    return "cache" if "cache" in arguments else "past_key_values"
