"""The semantic translator: stored features -> tokens of the LLM.

Pools a unit's grid to one token, standardises, and projects with one linear layer
(VideoLLM, arXiv 2305.13292, section 3.3). Standardisation is ours: features of different encoders
differ by orders of magnitude in scale, and a frozen LLM expects inputs of one scale.

Shapes: B batch, T rows, N tokens of a row, D feature width, E LLM width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.config import TranslatorConfig
from train.data.window_draws import WindowDraws
from train.model.augment import FeatureAugment

__all__ = ["SemanticTranslator", "mean_of_past"]


class SemanticTranslator(nn.Module):
    """features_BTD (or BTND) -> tokens_BTE."""

    mean_D: Tensor
    std_D: Tensor

    def __init__(
        self,
        dim: int,
        width: int,
        config: TranslatorConfig,
        *,
        start_rms: float = 1.0,
        augment: FeatureAugment,
    ) -> None:
        """Make a translator whose tokens have about the wanted scale at the start.

        Args:
            dim: D, width of a stored feature.
            width: E, width of the LLM's input embeddings.
            config: Pooling over rows, and the tokens' scale.
            start_rms: Root mean square of the first tokens where the scale is left to training.
            augment: Applied to standardised features in training.
        """
        super().__init__()
        self.config = config
        self.register_buffer("mean_D", torch.zeros(dim))
        self.register_buffer("std_D", torch.ones(dim))
        self.augment = augment
        self.linear = nn.Linear(dim, width)
        nn.init.normal_(self.linear.weight, std=start_rms / dim**0.5)
        nn.init.zeros_(self.linear.bias)

    def set_statistics(self, mean_D: Tensor, std_D: Tensor) -> None:
        """Set the mean and deviation of each dimension of pooled features."""
        self.mean_D.copy_(mean_D)
        self.std_D.copy_(std_D)

    def forward(self, features_BTD: Tensor, draws: WindowDraws | None = None) -> Tensor:
        """Return tokens_BTE of stored rows: ``tokens`` of what is ``standardised``."""
        return self.tokens(self.standardised(features_BTD, draws))

    def standardised(self, features_BTD: Tensor, draws: WindowDraws | None = None) -> Tensor:
        """Return features_BTD of one scale; a fourth dimension (tokens of a grid row) is pooled.

        Args:
            features_BTD: Stored rows, or BTND.
            draws: Of the windows in training; without, features are left as they are.
        """
        if features_BTD.dim() == 4:
            features_BTD = features_BTD.mean(dim=2)
        standard_BTD = (features_BTD - self.mean_D).div_(self.std_D)
        if draws is not None:
            standard_BTD = self.augment(standard_BTD, draws)
        if self.config.pool_rows > 1:
            standard_BTD = mean_of_past(standard_BTD, self.config.pool_rows)
        return standard_BTD

    def tokens(self, standard_BTD: Tensor) -> Tensor:
        """Return the tokens (B, T, E) of standardised features."""
        tokens_BTE: Tensor = self.linear(standard_BTD)
        if self.config.token_rms:
            tokens_BTE = functional.rms_norm(tokens_BTE, tokens_BTE.shape[-1:])
            tokens_BTE = tokens_BTE * self.config.token_rms
        return tokens_BTE


def mean_of_past(values_BTD: Tensor, num_rows: int) -> Tensor:
    """Return each row's mean with the ``num_rows - 1`` rows before it, fewer at the start."""
    padded_BDT = functional.pad(values_BTD.transpose(1, 2), (num_rows - 1, 0))
    sums_BDT = functional.avg_pool1d(padded_BDT, num_rows, stride=1) * num_rows
    counts_T = torch.arange(1, values_BTD.shape[1] + 1, device=values_BTD.device)
    return (sums_BDT / counts_T.clamp(max=num_rows)).transpose(1, 2)
