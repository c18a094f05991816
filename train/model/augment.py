"""Noise on standardised features while training.

Shapes: B batch, T rows, D feature width.
"""

from torch import Tensor, nn

from train.config import AugmentConfig
from train.data.window_draws import WindowDraws

__all__ = ["FeatureAugment"]


class FeatureAugment(nn.Module):
    """features_BTD -> features_BTD."""

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, standard_BTD: Tensor, draws: WindowDraws) -> Tensor:
        """Return features with dimensions dropped per window and noise added per value."""
        width = standard_BTD.shape[-1]
        if self.config.feature_dropout:
            # One draw per window: a dimension missing for one row could be read from the next.
            once_B = [1] * len(draws.num_rows)
            kept_B1D = draws.kept(once_B, width, self.config.feature_dropout)
            standard_BTD = standard_BTD * kept_B1D
        if self.config.noise_std:
            noise_BTD = draws.normal(draws.num_rows, width)
            standard_BTD = standard_BTD + self.config.noise_std * noise_BTD
        return standard_BTD
