"""Noise on standardised features while training.

Shapes: B batch, T rows, D feature width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.config import AugmentConfig

__all__ = ["FeatureAugment"]


class FeatureAugment(nn.Module):
    """features_BTD -> features_BTD, drawn from torch's own generator (seeded for each step)."""

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, standard_BTD: Tensor) -> Tensor:
        """Return features with dimensions dropped per window and noise added per value."""
        if self.config.feature_dropout:
            # One draw per window: a dimension missing for one row could be read from the next.
            keep_B1D = functional.dropout(
                torch.ones_like(standard_BTD[:, :1]), self.config.feature_dropout
            )
            standard_BTD = standard_BTD * keep_B1D
        if self.config.noise_std:
            standard_BTD = standard_BTD + self.config.noise_std * torch.randn_like(standard_BTD)
        return standard_BTD
