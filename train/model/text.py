"""Queries: text -> tokens of the LLM.

Either the LLM's own tokenizer and embeddings, or the features of a frozen text encoder through a
linear layer (VideoLLM, arXiv 2305.13292, section 3.2: both forms).

Shapes: B batch, L tokens of the longest query, C width of the text encoder, E LLM width.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoTokenizer

from cache_schema.errors import AnnotationError, ConfigError
from train.config import TextConfig
from train.model.llm import LanguageModel
from train.model.pretrained import (
    LlmIdentity,
    llm_source,
    quiet_loading,
    read_weights,
    weights_sha256,
)

__all__ = ["EncodedText", "LlmText", "Tokenizer", "load_text", "load_tokenizer"]

Tokenizer = Any
"""A tokenizer of transformers, which has no types."""

TextTokens = tuple[Tensor, Tensor]
"""tokens_BLE and valid_BL: True for tokens, False for padding, which lies behind them."""


@cache
def load_tokenizer(name: str) -> Tokenizer:
    """Return the tokenizer of an LLM or text encoder, with a padding token.

    Raises:
        ConfigError: if its files hold none.
    """
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(llm_source(name))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"'{name}' has no tokenizer that can be read, which tasks with text need. "
            f"{str(error).splitlines()[0]}"
        ) from error
    # Without its files transformers makes one that knows special tokens only, and no word.
    if len(tokenizer.get_vocab().keys() - tokenizer.get_added_vocab().keys()) <= 1:
        raise ConfigError(
            f"'{name}' has no tokenizer that can be read, which tasks with text need: its files "
            "are missing. Save the tokenizer beside the weights."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.padding_side = "right"
    return tokenizer


class LlmText(nn.Module):
    """Queries as the LLM's own token embeddings. Holds no weights."""

    def __init__(self, config: TextConfig, llm: LanguageModel) -> None:
        super().__init__()
        self._tokenize = _tokenize(llm.identity.name, config.max_tokens)
        self._embed: Callable[[Tensor], Tensor] = llm.embed  # not a submodule: the model owns it

    def forward(self, queries: Sequence[str], device: torch.device) -> TextTokens:
        """Return the tokens of a batch of queries."""
        ids_BL, valid_BL = self._tokenize(queries)
        return self._embed(ids_BL.to(device)).float(), valid_BL.to(device)


class EncodedText(nn.Module):
    """Queries as features of a frozen text encoder, each projected to one token of the LLM."""

    def __init__(self, config: TextConfig, width: int, *, start_rms: float) -> None:
        """Load the encoder.

        Args:
            config: ``encoder`` must not be empty.
            width: E, width of the LLM's input embeddings.
            start_rms: Root mean square of the first tokens.
        """
        super().__init__()
        self._tokenize = _tokenize(config.encoder, config.max_tokens)
        self.encoder = TextEncoder(config.encoder)
        dim = self.encoder.width
        self.linear = nn.Linear(dim, width)
        nn.init.normal_(self.linear.weight, std=start_rms / dim**0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, queries: Sequence[str], device: torch.device) -> TextTokens:
        """Return the tokens of a batch of queries."""
        ids_BL, valid_BL = (part.to(device) for part in self._tokenize(queries))
        features_BLC = self.encoder(ids_BL, valid_BL)
        # Encoders differ by orders of magnitude in scale, as with stored features.
        standard_BLC = functional.layer_norm(features_BLC, features_BLC.shape[-1:])
        return self.linear(standard_BLC), valid_BL


class TextEncoder(nn.Module):
    """A frozen stack that turns token ids into features (BERT, T5, CLIP, or an LLM)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        source = llm_source(name)
        with quiet_loading():
            settings = _read_settings(name, source)
            self.stack = _text_half(read_weights(source, settings, torch.float32)).eval()
        self.stack.requires_grad_(False)
        own: Any = self.stack.config
        self.width: int = own.hidden_size
        self.identity = LlmIdentity(
            name=name,
            stack="encoder",
            num_layers=own.num_hidden_layers,
            weights="pretrained",
            dtype="float32",
            weights_sha256=weights_sha256(self.stack),
        )

    def forward(self, ids_BL: Tensor, valid_BL: Tensor) -> Tensor:
        """Return features_BLC; no gradient flows into it."""
        with torch.no_grad():
            output = self.stack(input_ids=ids_BL, attention_mask=valid_BL.long())
        features_BLC: Tensor = output.last_hidden_state
        return features_BLC

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stay in evaluation mode: a frozen network does not drop its own activations."""
        return super().train(False)


def load_text(config: TextConfig, llm: LanguageModel) -> LlmText | EncodedText:
    """Return what turns queries into tokens of this LLM.

    Raises:
        ConfigError: if tokenizer or encoder cannot be loaded.
    """
    if not config.encoder:
        return LlmText(config, llm)
    return EncodedText(config, llm.width_in, start_rms=llm.embedding_rms)


def _tokenize(name: str, max_tokens: int) -> Callable[[Sequence[str]], TextTokens]:
    tokenizer = load_tokenizer(name)

    def tokenize(queries: Sequence[str]) -> TextTokens:
        encoded = tokenizer(list(queries), padding=True, return_tensors="pt")
        valid_BL = encoded["attention_mask"].bool()
        for query, length in zip(queries, valid_BL.sum(dim=1).tolist(), strict=True):
            if length > max_tokens:
                raise AnnotationError(
                    f"query '{query[:60]}...' has {length} tokens, text.max_tokens allows "
                    f"{max_tokens}. Raise it, or shorten the query."
                )
        return encoded["input_ids"], valid_BL

    return tokenize


def _read_settings(name: str, source: str) -> Any:  # noqa: ANN401 - transformers has no types
    try:
        return AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"text.encoder '{name}': no local folder or hub id that can be read. "
            f"{str(error).splitlines()[0]}"
        ) from error


def _text_half(model: Any) -> nn.Module:  # noqa: ANN401 - transformers has no types
    """Return the part that reads text: CLIP has one beside images, T5 one that generates."""
    if hasattr(model, "text_model"):
        model = model.text_model
    elif model.config.is_encoder_decoder:
        model = model.get_encoder()
    stack: nn.Module = model
    return stack
