"""The linear layers that turn the LLM's hidden states into a task's result.

One linear layer per output and nothing else: supervision comes from the LLM's last state only
(adaptation principles of arXiv 2305.13292).

Shapes: B batch, T rows, E LLM width, K classes.
"""

from collections.abc import Mapping

from torch import Tensor, nn

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

    def forward(self, hidden_BTE: Tensor) -> dict[str, Tensor]:
        """Return output name -> logits_BTK."""
        return {name: layer(hidden_BTE) for name, layer in self.layers.items()}
