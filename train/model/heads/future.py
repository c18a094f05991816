"""What comes after every row: N_f normalisations, then the linear layers they share.

The separate normalisation layers split a row's state into N_f anticipated representations (Future
Prediction of arXiv 2305.13292); one linear layer per output reads each of them.

Shapes: B batch, T rows, E LLM width, F future steps, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.task import States

__all__ = ["FutureHeads"]


class FutureHeads(nn.Module):
    """One LayerNorm per future step and one linear layer per named output."""

    def __init__(self, width: int, num_future: int, num_classes: Mapping[str, int]) -> None:
        """Make the layers.

        Args:
            width: E, width of the LLM's hidden states.
            num_future: F, steps that every row predicts.
            num_classes: Output name -> K.
        """
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_future))
        self.layers = nn.ModuleDict(
            {name: nn.Linear(width, count) for name, count in num_classes.items()}
        )

    def forward(self, states: States) -> dict[str, Tensor]:
        """Return output name -> logits_BTFK."""
        future_BTFE = torch.stack([norm(states.rows_BTE) for norm in self.norms], dim=2)
        return {name: layer(future_BTFE) for name, layer in self.layers.items()}
