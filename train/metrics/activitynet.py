"""ActivityNet's detection metric: which detections are hits, and their average precision.

Overlaps in, fractions out. The rules are those of ActivityNet's ``eval_detection.py``; the
evaluators of Ego4D's moment queries (``train.metrics.moments``) and of QVHighlights' moments
(``train.metrics.highlights``) have taken them over.

Shapes: P detections, best first, G instances, T thresholds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precisions", "free_instance_hits"]

Floats = NDArray[np.float64]


def free_instance_hits(tious_PG: Floats, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Tell at each threshold which detections, taken in order, find a free instance (T, P).

    The instance that overlaps most is tried first, then the next, and taken by the first detection
    that reaches it. An overlap that is nan is tried before all and counts as reached: the
    evaluator's accident.

    Args:
        tious_PG: Overlaps within one clip or query, G at least 1.
        thresholds: Least overlaps of a hit.
    """
    least_T1 = np.array(thresholds)[:, None]
    free_TG = np.ones((len(thresholds), tious_PG.shape[1]), bool)
    hits_TP = np.zeros((len(thresholds), len(tious_PG)), bool)
    for detection, tious_G in enumerate(tious_PG):
        # The evaluator's own call: which of equal overlaps comes first follows from it.
        ranks_G = tious_G.argsort()[::-1]
        usable_TG = free_TG[:, ranks_G] & ~(tious_G[ranks_G] < least_T1)
        hit_T = usable_TG.any(axis=1)
        free_TG[hit_T, ranks_G[usable_TG.argmax(axis=1)[hit_T]]] = False
        hits_TP[:, detection] = hit_T
    return hits_TP


def average_precisions(hits_TP: NDArray[np.bool_], num_instances: int) -> Floats:
    """Return the interpolated average precision at each threshold (T,).

    Interpolated: at each recall the best precision at this recall or a higher one.

    Examples:
        >>> average_precisions(np.array([[False, True, True]]), 2).round(3)
        array([0.667])
    """
    precision_TP = hits_TP.cumsum(axis=1) / np.arange(1, hits_TP.shape[1] + 1)
    best_TP = np.maximum.accumulate(precision_TP[:, ::-1], axis=1)[:, ::-1]
    averages_T: Floats = (best_TP * hits_TP).sum(axis=1) / num_instances
    return averages_T
