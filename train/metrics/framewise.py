"""Online action detection's metrics: class-mean top-k recall and mean average precision.

Scores and labels per frame in, one number out. The recall rule is that of RULSTM's
``topk_recall``, which EPIC-KITCHENS evaluations share; the mAP rule is TeSTra's and LSTR's.

Shapes: N frames of all videos, K classes.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

__all__ = ["class_mean_recall", "mean_average_precision", "top_k_hits"]


def top_k_hits(
    scores_NK: NDArray[np.floating], labels_N: NDArray[np.int64], k: int = 5
) -> NDArray[np.bool_]:
    """Tell for each frame whether its label is among the k highest scores, shape (N,).

    Of equal scores the higher class id ranks first, as in an ascending sort read backwards; so
    constant scores do not make every label a hit.
    """
    own_N1 = np.take_along_axis(scores_NK, labels_N[:, None], axis=1)
    behind_NK = np.arange(scores_NK.shape[1]) > labels_N[:, None]
    ahead_N = np.count_nonzero((scores_NK > own_N1) | ((scores_NK == own_N1) & behind_NK), axis=1)
    hits_N: NDArray[np.bool_] = ahead_N < k
    return hits_N


def class_mean_recall(hits_N: NDArray[np.bool_], labels_N: NDArray[np.int64]) -> float | None:
    """Return the mean over the classes that occur of the share of their frames hit, in percent.

    Returns:
        None where there is no frame.
    """
    if not len(labels_N):
        return None
    counts_K = np.bincount(labels_N)
    hits_K = np.bincount(labels_N, weights=hits_N)
    occurs_K = counts_K > 0
    return 100 * float(np.mean(hits_K[occurs_K] / counts_K[occurs_K]))


def mean_average_precision(
    classes: Iterable[tuple[NDArray[np.bool_], NDArray[np.floating]]],
) -> float | None:
    """Return the mean over classes of the step-wise average precision, as a fraction.

    Args:
        classes: For each class with a positive frame: which frames are positive, and its scores,
            both of shape (N,).

    Returns:
        None where there is no class.
    """
    precisions = [average_precision_score(positive_N, scores_N) for positive_N, scores_N in classes]
    return float(np.mean(precisions)) if precisions else None
