"""Online action detection's metrics: class-mean top-k recall and mean average precision.

Scores and labels per frame in, one number out. The recall rule is that of RULSTM's
``topk_recall``, which EPIC-KITCHENS evaluations share; the mAP rule is TeSTra's and LSTR's.

Shapes: N frames of all videos, K classes.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["AveragePrecisions", "class_mean_recall", "top_k_hits"]


def top_k_hits(
    scores_NK: NDArray[np.floating], labels_N: NDArray[np.int64], k: int = 5
) -> NDArray[np.bool_]:
    """Tell for each frame whether its label is among the k highest scores, shape (N,).

    Of equal scores the higher class id ranks first, as in an ascending sort read backwards; so
    constant scores do not make every label a hit.
    """
    own_N1 = np.take_along_axis(scores_NK, labels_N[:, None], axis=1)
    hits_N: NDArray[np.bool_] = np.count_nonzero(scores_NK > own_N1, axis=1) < k
    # Equal scores matter where the higher ones leave room only.
    at = np.flatnonzero(hits_N)
    own_N1, scores_NK = own_N1[at], scores_NK[at]
    behind_NK = np.arange(scores_NK.shape[1]) > labels_N[at, None]
    ahead_NK = (scores_NK > own_N1) | ((scores_NK == own_N1) & behind_NK)
    hits_N[at] = np.count_nonzero(ahead_NK, axis=1) < k
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


class AveragePrecisions:
    """The average precision of each class, over videos of which one at a time is in memory.

    Step-wise, as scikit-learn's ``average_precision_score``: the mean over the positive frames of
    the precision among all frames that score at least as high. So the scores of positive frames
    are collected from all videos first, then all frames at least as high are counted.

    Shapes: C classes, F frames of a video.
    """

    def __init__(self, num_classes: int) -> None:
        self._own: list[list[NDArray[np.floating]]] = [[] for _ in range(num_classes)]
        self._at_least: list[NDArray[np.int64]] = []

    def collect(
        self,
        classes_C: NDArray[np.int64],
        positive_CF: NDArray[np.bool_],
        scores_CF: NDArray[np.floating],
    ) -> None:
        """Take the scores of a video's positive frames, of the classes that have some."""
        for class_id, positive_F, scores_F in zip(classes_C, positive_CF, scores_CF, strict=True):
            self._own[class_id].append(scores_F[positive_F])

    def count(self, scores_CF: NDArray[np.floating]) -> None:
        """Count the frames of a video, after all videos have been collected."""
        if not self._at_least:
            nothing = np.zeros(0, scores_CF.dtype)
            self._own = [[np.sort(np.concatenate([nothing, *own]))] for own in self._own]
            self._at_least = [np.zeros(len(own), np.int64) for (own,) in self._own]
        num_frames = scores_CF.shape[1]
        for (own,), at_least, ascending_F in zip(
            self._own, self._at_least, np.sort(scores_CF, axis=1), strict=True
        ):
            at_least += num_frames - np.searchsorted(ascending_F, own)

    def mean(self) -> float | None:
        """Return the mean over the classes with a positive frame, as a fraction; None without."""
        precisions = (
            [
                float(np.mean((len(own) - np.searchsorted(own, own)) / at_least))
                for (own,), at_least in zip(self._own, self._at_least, strict=True)
                if len(own)
            ]
            if self._at_least
            else []
        )
        return float(np.mean(precisions)) if precisions else None
