"""One linear layer per output on every row's state, and nothing else.

Supervision comes from the LLM's last state only (adaptation principles of arXiv 2305.13292).

Shapes: B batch, T rows, E LLM width, K classes.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from train.task import States

__all__ = ["LinearHeads"]


class LinearHeads(nn.Module):
    """One linear layer per named output, all on the same hidden states."""

    def __init__(self, width: int, num_classes: Mapping[str, int]) -> None:
        """Make the layers.

        Args:
            width: E, width of the LLM's hidden states.
            num_classes: Output name -> K.
        """
        super().__init__()
        self.layers = nn.ModuleDict(
            {name: nn.Linear(width, count) for name, count in num_classes.items()}
        )

    def forward(self, states: States) -> dict[str, Tensor]:
        """Return output name -> logits_BTK."""
        return {name: layer(states.rows_BTE) for name, layer in self.layers.items()}
