"""The semantic translator: stored features -> tokens of the LLM.

Pools a unit's grid to one token, standardises, and projects with one linear layer
(VideoLLM, arXiv 2305.13292, section 3.3). Standardisation is ours: features of different encoders
differ by orders of magnitude in scale, and a frozen LLM expects inputs of one scale.

Shapes: B batch, T rows, N tokens of a row, D feature width, E LLM width.
"""

import torch
from torch import Tensor, nn

from train.augment import FeatureAugment

__all__ = ["SemanticTranslator"]


class SemanticTranslator(nn.Module):
    """features_BTD (or BTND) -> tokens_BTE."""

    mean_D: Tensor
    std_D: Tensor

    def __init__(
        self, dim: int, width: int, *, output_rms: float = 1.0, augment: FeatureAugment
    ) -> None:
        """Make a translator whose tokens have about ``output_rms`` at the start.

        Args:
            dim: D, width of a stored feature.
            width: E, width of the LLM's input embeddings.
            output_rms: Root mean square of the tokens for standardised, independent features.
            augment: Applied to standardised features while training.
        """
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(dim))
        self.register_buffer("std_D", torch.ones(dim))
        self.augment = augment
        self.linear = nn.Linear(dim, width)
        nn.init.normal_(self.linear.weight, std=output_rms / dim**0.5)
        nn.init.zeros_(self.linear.bias)

    def set_statistics(self, mean_D: Tensor, std_D: Tensor) -> None:
        """Set the mean and deviation of each dimension of pooled features."""
        self.mean_D.copy_(mean_D)
        self.std_D.copy_(std_D)

    def forward(self, features_BTD: Tensor) -> Tensor:
        """Return tokens_BTE; a fourth dimension (tokens of a grid row) is pooled first."""
        if features_BTD.dim() == 4:
            features_BTD = features_BTD.mean(dim=2)
        standard_BTD = (features_BTD - self.mean_D) / self.std_D
        if self.training:
            standard_BTD = self.augment(standard_BTD)
        tokens_BTE: Tensor = self.linear(standard_BTD)
        return tokens_BTE
