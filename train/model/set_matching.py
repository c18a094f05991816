"""Set prediction: which of M predictions answers for which true segment, and the loss of that.

Class logits and segments as fractions of a window in, ``LossSum`` out. Bipartite matching after
Carion et al., "End-to-End Object Detection with Transformers" (ECCV 2020, section 3.1), in one
dimension.

Shapes: B windows, M predictions, G true segments (padded), K classes, 2 start and end.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from train.task import IGNORED, LossSum

__all__ = ["generalized_iou", "match", "set_loss_sum"]

L1_WEIGHT = 5.0
IOU_WEIGHT = 2.0
"""Of both boundary terms against the class term, in the matching and in the loss (DETR's)."""
NOTHING_WEIGHT = 0.1
"""Of predictions that answer for no segment, in the class term (DETR's)."""


def set_loss_sum(
    logits_BMK: Tensor,
    predicted_BM2: Tensor,
    labels_BG: Tensor,
    truth_BG2: Tensor,
    counts_B: Tensor,
) -> LossSum:
    """Return the set loss summed over the windows that count.

    A window's loss is the weighted mean cross-entropy of its M predictions plus, averaged over its
    matched segments, ``5 * L1 + 2 * (1 - generalized IoU)``.

    Args:
        logits_BMK: The last of the K classes is "nothing".
        predicted_BM2: Fractions of the window.
        labels_BG: Class of each true segment.
        truth_BG2: Fractions of the window.
        counts_B: G of each window; ``IGNORED`` where the window does not count.
    """
    logits_BMK, predicted_BM2 = logits_BMK.float(), predicted_BM2.float()
    windows, slots, truths = match(logits_BMK, predicted_BM2, labels_BG, truth_BG2, counts_B)
    counted_B = counts_B != IGNORED
    nothing = logits_BMK.shape[2] - 1
    wanted_BM = torch.full(logits_BMK.shape[:2], nothing, device=logits_BMK.device)
    wanted_BM[windows, slots] = labels_BG[windows, truths]
    weights_BM = torch.where(wanted_BM == nothing, NOTHING_WEIGHT, 1.0) * counted_B[:, None]
    class_BM = functional.cross_entropy(logits_BMK.transpose(1, 2), wanted_BM, reduction="none")
    class_B = (class_BM * weights_BM).sum(dim=1) / weights_BM.sum(dim=1).clamp(min=1e-6)
    found_P2, true_P2 = predicted_BM2[windows, slots], truth_BG2[windows, truths]
    distance_P = (found_P2 - true_P2).abs().sum(dim=1)
    boundary_P = L1_WEIGHT * distance_P + IOU_WEIGHT * (1 - generalized_iou(found_P2, true_P2))
    matched_B = torch.bincount(windows, minlength=len(counts_B))
    total = class_B.sum() + (boundary_P / matched_B[windows]).sum()
    return LossSum(total=total, num_targets=counted_B.sum())


@torch.no_grad()
def match(
    logits_BMK: Tensor,
    predicted_BM2: Tensor,
    labels_BG: Tensor,
    truth_BG2: Tensor,
    counts_B: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cheapest assignment as window, prediction and true segment of each pair.

    A pair costs ``-p(class) + 5 * L1 - 2 * generalized IoU``. Of more true segments than
    predictions those that fit worst stay without one.
    """
    pairs: list[tuple[int, int, int]] = []
    probabilities_BMK = logits_BMK.softmax(dim=-1)
    for window, count in enumerate(counts_B.tolist()):
        if count > 0:
            truth_G2 = truth_BG2[window, None, :count]
            found_M2 = predicted_BM2[window, :, None]
            costs_MG = -probabilities_BMK[window][:, labels_BG[window, :count]]
            costs_MG += L1_WEIGHT * (found_M2 - truth_G2).abs().sum(dim=-1)
            costs_MG -= IOU_WEIGHT * generalized_iou(found_M2, truth_G2)
            slots, truths = linear_sum_assignment(costs_MG.cpu().numpy())
            pairs += [
                (window, int(slot), int(one)) for slot, one in zip(slots, truths, strict=True)
            ]
    windows, slots, truths = torch.tensor(pairs, dtype=torch.long).reshape(-1, 3).T
    device = logits_BMK.device
    return windows.to(device), slots.to(device), truths.to(device)


def generalized_iou(a_2: Tensor, b_2: Tensor) -> Tensor:
    """Return ``IoU - (hull - union) / hull`` of segments, broadcasting all but the last dimension.

    1 for equal segments, towards -1 for distant ones (Rezatofighi et al., CVPR 2019, in one
    dimension).
    """
    overlap = torch.minimum(a_2[..., 1], b_2[..., 1]) - torch.maximum(a_2[..., 0], b_2[..., 0])
    hull = torch.maximum(a_2[..., 1], b_2[..., 1]) - torch.minimum(a_2[..., 0], b_2[..., 0])
    union = (a_2[..., 1] - a_2[..., 0]) + (b_2[..., 1] - b_2[..., 0]) - overlap.clamp(min=0)
    tiny = 1e-6
    return overlap.clamp(min=0) / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)
