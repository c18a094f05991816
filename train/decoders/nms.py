"""Which of many predicted segments to keep.

Pure NumPy; a segment is a start and an end in any unit.

Shapes: N segments, 2 start and end, K segments that are kept.
"""

import numpy as np
from numpy.typing import NDArray

from train.metrics.tiou import tiou_by_hull

__all__ = ["nms", "soft_nms"]

Floats = NDArray[np.float64]


def nms(segments_N2: Floats, scores_N: Floats, threshold: float, keep: int) -> NDArray[np.int64]:
    """Return up to ``keep`` segments, best first, no two overlapping by more than ``threshold``.

    Args:
        segments_N2: Candidates.
        scores_N: Of each; of equal ones the first wins.
        threshold: Largest tIoU of two that are kept.
        keep: Largest number to return.
    """
    remaining_N = np.argsort(-scores_N, kind="stable")
    kept: list[int] = []
    while len(remaining_N) and len(kept) < keep:
        best, remaining_N = int(remaining_N[0]), remaining_N[1:]
        kept.append(best)
        overlaps_N = tiou_by_hull(segments_N2[[best]], segments_N2[remaining_N])[0]
        remaining_N = remaining_N[~(overlaps_N > threshold)]
    return np.array(kept, np.int64)


def soft_nms(
    segments_N2: Floats, scores_N: Floats, sigma: float, keep: int
) -> tuple[NDArray[np.int64], Floats]:
    """Return up to ``keep`` segments, best first, and their scores lowered by overlap.

    Each segment taken multiplies the scores of the rest by ``exp(-tIoU^2 / sigma)`` (Bodla et al.,
    "Soft-NMS", ICCV 2017, Gaussian form).

    Args:
        segments_N2: Candidates.
        scores_N: Of each, not negative.
        sigma: How far overlap is tolerated.
        keep: Largest number K to return.
    """
    lowered_N = scores_N.astype(np.float64)
    free_N = np.ones(len(scores_N), bool)
    kept: list[int] = []
    for _ in range(min(keep, len(scores_N))):
        best = int(np.where(free_N, lowered_N, -1.0).argmax())
        free_N[best] = False
        kept.append(best)
        overlaps_N = np.nan_to_num(tiou_by_hull(segments_N2[[best]], segments_N2)[0])
        lowered_N = np.where(free_N, lowered_N * np.exp(-(overlaps_N**2) / sigma), lowered_N)
    kept_K = np.array(kept, np.int64)
    return kept_K, lowered_N[kept_K]
