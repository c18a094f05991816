"""Queries: text -> tokens of the LLM.

Either the LLM's own tokenizer and embeddings, or the features of a frozen text encoder through a
linear layer (VideoLLM, arXiv 2305.13292, section 3.2: both forms). Such features are made here, or
come from the files of a release.

Shapes: B batch, L tokens of the longest query, C width of the text encoder, E LLM width.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoTokenizer

from cache_schema.errors import AnnotationError, ConfigError
from train.config import TextConfig
from train.data.query_features import QueryFeatures
from train.model.identity import LlmIdentity
from train.model.llm import LanguageModel
from train.model.pretrained import llm_source, read_weights, weights_sha256
from train.model.quiet_loading import quiet_loading

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
    """Queries as features of a text encoder, each projected to one token of the LLM."""

    def __init__(self, config: TextConfig, width: int, *, start_rms: float) -> None:
        """Load the encoder, or look for the features that it has made elsewhere, or both.

        Args:
            config: ``encoder`` or ``features`` must not be empty.
            width: E, width of the LLM's input embeddings.
            start_rms: Root mean square of the first tokens.

        Raises:
            ConfigError: if encoder or features cannot be found, or have different widths.
        """
        super().__init__()
        self._max_tokens = config.max_tokens
        self._query_ids: dict[str, str] = {}
        self._published = QueryFeatures(Path(config.features)) if config.features else None
        self.encoder = TextEncoder(config.encoder) if config.encoder else None
        if self.encoder is not None:
            self._tokenize = _tokenize(config.encoder, config.max_tokens)
        dim = self._dim(config)
        self.linear = nn.Linear(dim, width)
        nn.init.normal_(self.linear.weight, std=start_rms / dim**0.5)
        nn.init.zeros_(self.linear.bias)

    def name_queries(self, query_ids: Mapping[str, str]) -> None:
        """Tell which query of the release each text is; without a release there is nothing to tell.

        Args:
            query_ids: Text, as it will be asked -> id.

        Raises:
            AnnotationError: if the release lacks one of them, or one id is of two texts.
        """
        if self._published is None:
            return
        texts: dict[str, str] = {}
        for text, query_id in query_ids.items():
            if (other := texts.setdefault(query_id, text)) != text:
                raise AnnotationError(
                    f"the queries '{other[:60]}' and '{text[:60]}' have one id, {query_id}: "
                    "text.features cannot tell them apart. Leave it out."
                )
        self._published.require(texts)
        self._query_ids.update(query_ids)

    def forward(self, queries: Sequence[str], device: torch.device) -> TextTokens:
        """Return the tokens of a batch of queries."""
        if self._published is None:
            features_BLC, valid_BL = self._encoded(queries, device)
        else:
            features_BLC, valid_BL = _padded([self._features(query, device) for query in queries])
        # Encoders differ by orders of magnitude in scale, as with stored features.
        standard_BLC = functional.layer_norm(features_BLC, features_BLC.shape[-1:])
        return self.linear(standard_BLC), valid_BL

    def _dim(self, config: TextConfig) -> int:
        """Return C."""
        widths = [one.width for one in (self._published, self.encoder) if one is not None]
        if len(set(widths)) > 1:
            raise ConfigError(
                f"text.features '{config.features}' have width {widths[0]}, text.encoder "
                f"'{config.encoder}' makes {widths[1]}. Name the encoder that they were made with, "
                "or none."
            )
        return widths[0]

    def _encoded(self, queries: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return features_BLC and valid_BL as the encoder makes them."""
        assert self.encoder is not None
        ids_BL, valid_BL = (part.to(device) for part in self._tokenize(queries))
        return self.encoder(ids_BL, valid_BL), valid_BL

    def _features(self, query: str, device: torch.device) -> Tensor:
        """Return the (L, C) features of a query: the release's, else the encoder's."""
        query_id = self._query_ids.get(query)
        if query_id is not None:
            assert self._published is not None
            features_LC = torch.from_numpy(self._published.read(query_id))
            _check_length(query, len(features_LC), self._max_tokens)
            return features_LC.to(device)
        if self.encoder is None:
            raise ConfigError(
                f"query '{query[:60]}': the run reads queries as features that others made "
                "(text.features), and they have none of this one. Train with the text.encoder that "
                "made them beside it, and any query can be asked."
            )
        return self._encoded([query], device)[0][0]


def _padded(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return features_BLC and valid_BL of (L, C) features of different lengths."""
    features_BLC = pad_sequence(list(features), batch_first=True)
    lengths_B1 = torch.tensor([[len(one)] for one in features], device=features_BLC.device)
    return features_BLC, torch.arange(features_BLC.shape[1], device=lengths_B1.device) < lengths_B1


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
        ConfigError: if tokenizer, encoder or features cannot be loaded.
    """
    if not (config.encoder or config.features):
        return LlmText(config, llm)
    return EncodedText(config, llm.width_in, start_rms=llm.embedding_rms)


def _tokenize(name: str, max_tokens: int) -> Callable[[Sequence[str]], TextTokens]:
    tokenizer = load_tokenizer(name)

    def tokenize(queries: Sequence[str]) -> TextTokens:
        encoded = tokenizer(list(queries), padding=True, return_tensors="pt")
        valid_BL = encoded["attention_mask"].bool()
        for query, length in zip(queries, valid_BL.sum(dim=1).tolist(), strict=True):
            _check_length(query, length, max_tokens)
        return encoded["input_ids"], valid_BL

    return tokenize


def _check_length(query: str, length: int, max_tokens: int) -> None:
    if length > max_tokens:
        raise AnnotationError(
            f"query '{query[:60]}...' has {length} tokens, text.max_tokens allows {max_tokens}. "
            "Raise it, or shorten the query."
        )


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
