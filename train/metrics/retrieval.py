"""Natural-language query's metric: recall at rank k over IoU thresholds.

Predicted windows and one true window per query in, percent out. The rules are those of Ego4D's
``evaluate_ego4d_nlq.py`` (EGO4D/episodic-memory), whose key names mislead: ``Rank@1 mIoU@0.3`` is
the share of queries of which one of the first k windows overlaps the answer by more than 0.3.

Shapes: P windows of one query, 2 start and end seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.metrics.tiou import tiou_by_hull

__all__ = ["Answer", "rank_recalls"]

RANKS = (1, 3, 5)
IOUS = (0.3, 0.5, 0.01)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The windows submitted for a query, and the true one."""

    predicted_P2: NDArray[np.float64]
    """Best first, at least one."""
    truth_2: NDArray[np.float64]


def rank_recalls(answers: Sequence[Answer]) -> dict[str, float]:
    """Return ``Rank@k mIoU@t`` and ``mIoU``, the mean overlap of the first windows, in percent.

    Every entry counts, also of a query that was submitted before. A window without length on a true
    one without length has overlap nan: no hit, and ``mIoU`` becomes nan.
    """
    ious = [tiou_by_hull(one.predicted_P2, one.truth_2[None])[:, 0] for one in answers]
    scores = {
        f"Rank@{rank} mIoU@{threshold}": np.mean([(iou[:rank] > threshold).any() for iou in ious])
        for rank in RANKS
        for threshold in IOUS
    }
    scores["mIoU"] = np.mean([iou[0] for iou in ious])
    return {key: 100 * float(value) for key, value in scores.items()}
