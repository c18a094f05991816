"""Noise on standardised features while training.

Shapes: B batch, T rows, D feature width, S streams.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.config import AugmentConfig
from train.data.window_draws import WindowDraws

__all__ = ["FeatureAugment"]


class FeatureAugment(nn.Module):
    """features_BTD -> features_BTD."""

    def __init__(self, config: AugmentConfig, widths: Sequence[int] = ()) -> None:
        """Keep the settings.

        Args:
            config: What to do.
            widths: Of each stream that is a part of the features; empty where there is one.
        """
        super().__init__()
        self.config = config
        self._widths = list(widths)

    def forward(self, standard_BTD: Tensor, draws: WindowDraws) -> Tensor:
        """Return features with streams and dimensions dropped, shifts and noise added.

        Noise is drawn for every value, all else once for a window: what is missing or shifted in
        one row could be read from the next.
        """
        width = standard_BTD.shape[-1]
        once_B = [1] * len(draws.num_rows)
        if self.config.stream_dropout and len(self._widths) > 1:
            standard_BTD = standard_BTD * self._kept_streams(draws)
        if self.config.feature_dropout:
            kept_B1D = draws.kept(once_B, width, self.config.feature_dropout)
            standard_BTD = standard_BTD * kept_B1D
        if self.config.shift_std:
            standard_BTD = standard_BTD + self.config.shift_std * draws.normal(once_B, width)
        if self.config.noise_std:
            noise_BTD = draws.normal(draws.num_rows, width)
            standard_BTD = standard_BTD + self.config.noise_std * noise_BTD
        return standard_BTD

    def _kept_streams(self, draws: WindowDraws) -> Tensor:
        """Return (B, 1, D) factors: 0 for a stream that is dropped; where all would be, for none.

        Nothing makes up for what is dropped: a row of one stream alone is one that can occur.
        """
        once_B = [1] * len(draws.num_rows)
        kept_B1S = (draws.kept(once_B, len(self._widths), self.config.stream_dropout) > 0).float()
        kept_B1S = kept_B1S.where(kept_B1S.any(dim=-1, keepdim=True), 1.0)
        of_streams = zip(kept_B1S.unbind(-1), self._widths, strict=True)
        widened = [kept_B1[..., None].expand(-1, -1, width) for kept_B1, width in of_streams]
        return torch.cat(widened, dim=-1)
