"""Small causal networks that may stand where the LLM does: trained whole, from nothing.

    gru    gated recurrent units (Cho et al., 2014)
    tcn    a stage of dilated residual convolutions (MS-TCN, Farha and Gall, CVPR 2019), made causal

They are what a language model has to be better than, and a choice of their own where labels are few
and queries none. tokens_BTE -> hidden_BTE.

Shapes: B batch, T tokens, E width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_schema.errors import ConfigError
from train.config import LlmConfig

__all__ = ["SMALL", "CausalConvolutions", "Gru", "SmallNetwork", "make_small"]

KERNEL_ROWS = 3
LAYERS = {"gru": 1, "tcn": 8}
"""With ``num_layers`` of "auto", or 0 for all; eight dilated layers see 511 tokens."""


class SmallNetwork(nn.Module):
    """What translator and head must know of it, as of a ``LanguageModel``."""

    embedding_rms = 1.0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width_in = width
        self.width_out = width


class Gru(SmallNetwork):
    """A recurrent network; padding lies behind the tokens, so it needs no care."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__(width)
        self.network = nn.GRU(width, width, num_layers, batch_first=True)

    def forward(self, tokens_BTE: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the hidden states; those of padding may be anything."""
        hidden_BTE: Tensor = self.network(tokens_BTE)[0]
        return hidden_BTE


class CausalConvolutions(SmallNetwork):
    """Layer l looks at a token and at those 2^l and 2 * 2^l before it."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__(width)
        self.dilated = nn.ModuleList(
            nn.Conv1d(width, width, KERNEL_ROWS, dilation=2**layer) for layer in range(num_layers)
        )
        self.pointwise = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(num_layers))

    def forward(self, tokens_BTE: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the hidden states; those of padding may be anything."""
        hidden_BET = tokens_BTE.transpose(1, 2)
        for layer, (dilated, pointwise) in enumerate(
            zip(self.dilated, self.pointwise, strict=True)
        ):
            past = (KERNEL_ROWS - 1) * 2**layer
            seen_BET = functional.relu(dilated(functional.pad(hidden_BET, (past, 0))))
            hidden_BET = hidden_BET + pointwise(seen_BET)
        return hidden_BET.transpose(1, 2)


SMALL: dict[str, type[Gru] | type[CausalConvolutions]] = {"gru": Gru, "tcn": CausalConvolutions}
"""Names of ``llm.name``."""


def make_small(config: LlmConfig, seed: int, tuning: str) -> Gru | CausalConvolutions:
    """Return a network of random weights; the same seed gives the same.

    Args:
        config: Its ``name`` is one of ``SMALL``.
        seed: Of the weights.
        tuning: Of the run; there is nothing pretrained that could be kept.

    Raises:
        ConfigError: if the tuning is one of an LLM.
    """
    if tuning not in {"auto", "basic", "full"}:
        raise ConfigError(
            f"tuning is '{tuning}', but llm '{config.name}' is trained whole, from nothing. Leave "
            "it out."
        )
    torch.manual_seed(seed)
    usual = LAYERS[config.name]
    num_layers = usual if config.num_layers == "auto" else config.num_layers or usual
    return SMALL[config.name](config.width, num_layers)
