"""Losses as sums over valid targets, so that any split of a batch gives the same gradient.

Logits (B, T, K) and targets (B, T) in, ``LossSum`` or a scalar sum out. Everything is computed in
float32, whatever the logits' dtype.

Shapes: B batch, T rows of a window, K classes.
"""

from torch import Tensor
from torch.nn import functional

from train.task import IGNORED, LossSum

__all__ = ["cross_entropy_sum", "truncated_mse_sum"]

MAX_LOG_STEP = 4.0
"""Truncation of the smoothing loss: tau of MS-TCN (Abu Farha and Gall, CVPR 2019, eq. 8)."""


def cross_entropy_sum(
    logits_BTK: Tensor, targets_BT: Tensor, label_smoothing: float = 0.0
) -> LossSum:
    """Return the cross-entropy summed over the targets that are not ``IGNORED``."""
    total = functional.cross_entropy(
        logits_BTK.float().flatten(0, 1),
        targets_BT.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return LossSum(total=total, num_targets=(targets_BT != IGNORED).sum())


def truncated_mse_sum(logits_BTK: Tensor, targets_BT: Tensor) -> Tensor:
    """Return how much the class log-probabilities jump from row to row, summed over rows.

    ``sum over t of mean over k of min(tau, |log p[t, k] - log p[t-1, k]|)^2`` with no gradient
    through the earlier row (MS-TCN, eq. 8-10). A step counts where both its rows have a target.
    """
    valid_BT = targets_BT != IGNORED
    # Padding may hold anything, and nan * 0 is nan: it must be gone before any arithmetic.
    log_p_BTK = logits_BTK.float().where(valid_BT[..., None], 0.0).log_softmax(dim=-1)
    steps_BTK = (log_p_BTK[:, 1:] - log_p_BTK[:, :-1].detach()).abs().clamp(max=MAX_LOG_STEP)
    counts_BT = valid_BT[:, 1:] & valid_BT[:, :-1]
    return (steps_BTK.square().mean(dim=-1) * counts_BT).sum()
