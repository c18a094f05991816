"""Segment memories: a window's summary, seen through one normalisation layer per moment.

N_m normalisation layers split the final state into N_m segment memories, and one linear layer per
output names the class and the boundary of each (VideoLLM, arXiv 2305.13292, section 3.4).

Shapes: B batch, S final tokens, M moments, E LLM width, K classes, 2 start and end.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.task import States

__all__ = ["MomentHead"]


class MomentHead(nn.Module):
    """Final states -> ``classes`` (B, M, K + 1), ``segments`` (B, M, 2) as fractions."""

    def __init__(self, width: int, num_moments: int, num_classes: int) -> None:
        """Make the layers.

        Args:
            width: E, width of the LLM's hidden states.
            num_moments: M.
            num_classes: K; the logits have one more, the last, for "nothing".
        """
        super().__init__()
        # Equal layers on one state would stay equal: they start apart.
        self.scale_ME = nn.Parameter(1 + 0.5 * torch.randn(num_moments, width))
        self.shift_ME = nn.Parameter(torch.randn(num_moments, width))
        self.classes = nn.Linear(width, num_classes + 1)
        self.boundary = nn.Linear(width, 2)

    def forward(self, states: States) -> dict[str, Tensor]:
        """Return the outputs; one final token speaks for all moments, M tokens for one each."""
        normal_BSE = functional.layer_norm(states.final_BSE, states.final_BSE.shape[-1:])
        memories_BME = normal_BSE * self.scale_ME + self.shift_ME
        centre_BM, width_BM = self.boundary(memories_BME).sigmoid().unbind(dim=-1)
        segments_BM2 = torch.stack([centre_BM - width_BM / 2, centre_BM + width_BM / 2], dim=-1)
        return {"classes": self.classes(memories_BME), "segments": segments_BM2}
