"""Highlight detection's metrics: average precision and Hit@1 of clips, and those of moments.

Scores and windows of each query in, percentages out, by the rules of Moment-DETR's
``standalone_eval``.

Shapes: Q queries, C clips of a video, P clip scores submitted for it, A annotators, K columns of
labels, G true windows, W submitted windows, T IoU thresholds, 2 start and end seconds, 3 those and
a score.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.metrics.activitynet import average_precisions, free_instance_hits
from train.metrics.tiou import tiou_by_hull, tiou_by_lengths

__all__ = ["highlight_scores", "interpolated_precision", "moment_scores"]

LEVELS = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""Least saliency that makes a clip a highlight."""
THRESHOLDS = [round(0.5 + 0.05 * step, 2) for step in range(10)]
"""IoU from which a window is found."""
LENGTH_RANGES = {"long": (30, 150), "middle": (10, 30), "short": (0, 10)}
"""Seconds of a true window, first exclusive, second inclusive."""
MAX_WINDOWS = 10
"""Submitted windows of a query that count for average precision, in the order of the file."""

Floats = NDArray[np.float64]


def highlight_scores(
    saliency_QCA: Sequence[NDArray[np.integer]], scores_QP: Sequence[Floats]
) -> dict[str, float]:
    """Return ``HL-min-*`` in percent.

    Average precision is taken per query and annotator, then averaged. Submitted scores beyond the
    last clip are cut off, missing ones are 0. Hit@1: the first of the clips with the highest score
    is a highlight for any annotator.

    Args:
        saliency_QCA: 0 to 4 for each clip and annotator of each query.
        scores_QP: Submitted scores of the same queries, at least one each.
    """
    levels = np.array(list(LEVELS.values()))
    precisions, hits = [], []
    for saliency_CA, scores_P in zip(saliency_QCA, scores_QP, strict=True):
        positive_LCA = saliency_CA >= levels[:, None, None]
        num_clips, num_annotators = saliency_CA.shape
        scores_C = np.zeros(num_clips)
        scores_C[: len(scores_P)] = scores_P[:num_clips]
        columns_CK = positive_LCA.transpose(1, 0, 2).reshape(num_clips, -1)
        precision_K = interpolated_precision(scores_C, columns_CK)
        precisions.append(precision_K.reshape(len(levels), num_annotators).mean(axis=1))
        best = int(scores_P.argmax())
        hits.append(positive_LCA[:, best].any(axis=1) if best < num_clips else levels < 0)
    means = [100 * np.mean(values, axis=0) for values in (precisions, hits)]
    return {
        f"HL-min-{name}-{metric}": float(mean_L[index])
        for index, name in enumerate(LEVELS)
        for metric, mean_L in zip(("mAP", "Hit1"), means, strict=True)
    }


def interpolated_precision(scores_C: Floats, positive_CK: NDArray[np.bool_]) -> Floats:
    """Return for each column of labels the mean, over each rise of recall, of the best precision.

    Best is meant at this or any higher recall. Clips of equal scores are one step. A column without
    a positive gets 0.

    Examples:
        >>> interpolated_precision(np.array([3, 2, 1]), np.array([[True], [False], [True]]))
        array([0.83333333])
    """
    order_C = np.argsort(-scores_C, kind="stable")
    ends_D = np.append(np.flatnonzero(np.diff(scores_C[order_C])), len(scores_C) - 1)
    hits_DK = positive_CK[order_C].cumsum(axis=0)[ends_D]
    rises_DK = np.diff(hits_DK, axis=0, prepend=0) > 0
    precision_DK = hits_DK / (ends_D + 1)[:, None]
    best_DK = np.maximum.accumulate(precision_DK[::-1])[::-1]
    precision_K = (best_DK * rises_DK).sum(axis=0)
    mean_K: Floats = precision_K / np.maximum(rises_DK.sum(axis=0), 1)
    return mean_K


def moment_scores(
    truth_QG2: Sequence[Floats], predicted_QW3: Sequence[Floats]
) -> dict[str, float | None]:
    """Return ``MR-*`` in percent.

    R1 looks at each query's first window in the order submitted, average precision at its first
    ten, by score. The length ranges look at the queries with a true window of that length, and
    there at these windows only.

    Args:
        truth_QG2: True windows of each query, at least one.
        predicted_QW3: Submitted windows of the same queries, at least one.

    Returns:
        Key -> percent; None where no true window has the length.
    """
    precision_QT = _precisions(truth_QG2, predicted_QW3)
    first_Q = np.array(
        [
            _first_window_iou(truth_G2, predicted_W3[0, :2])
            for truth_G2, predicted_W3 in zip(truth_QG2, predicted_QW3, strict=True)
        ]
    )
    mean_T = precision_QT.mean(axis=0)
    return {
        "MR-full-R1@0.5": 100 * float(np.mean(first_Q >= 0.5)),
        "MR-full-R1@0.7": 100 * float(np.mean(first_Q >= 0.7)),
        "MR-full-mAP": 100 * float(mean_T.mean()),
        "MR-full-mAP@0.5": 100 * float(mean_T[THRESHOLDS.index(0.5)]),
        "MR-full-mAP@0.75": 100 * float(mean_T[THRESHOLDS.index(0.75)]),
        **{
            f"MR-{name}-mAP": _mean_of_length(truth_QG2, predicted_QW3, *bounds)
            for name, bounds in LENGTH_RANGES.items()
        },
    }


def _mean_of_length(
    truth_QG2: Sequence[Floats], predicted_QW3: Sequence[Floats], above: int, most: int
) -> float | None:
    kept = []
    for truth_G2, predicted_W3 in zip(truth_QG2, predicted_QW3, strict=True):
        seconds_G = truth_G2[:, 1] - truth_G2[:, 0]
        inside_G2 = truth_G2[(seconds_G > above) & (seconds_G <= most)]
        if len(inside_G2):
            kept.append((inside_G2, predicted_W3))
    if not kept:
        return None
    return 100 * float(_precisions(*zip(*kept, strict=True)).mean(axis=0).mean())


def _precisions(truth_QG2: Sequence[Floats], predicted_QW3: Sequence[Floats]) -> Floats:
    """Return average precision per query and threshold (Q, T)."""
    return np.array(
        [
            _window_precision(truth_G2, predicted_W3[:MAX_WINDOWS])
            for truth_G2, predicted_W3 in zip(truth_QG2, predicted_QW3, strict=True)
        ]
    )


def _window_precision(truth_G2: Floats, predicted_W3: Floats) -> Floats:
    """Return the average precision of one query per threshold (T,)."""
    by_score_W3 = predicted_W3[np.argsort(-predicted_W3[:, 2], kind="stable")]
    hits_TW = free_instance_hits(_iou(by_score_W3[:, :2], truth_G2), THRESHOLDS)
    return average_precisions(hits_TW, len(truth_G2))


def _iou(windows_W2: Floats, truth_G2: Floats) -> Floats:
    """Return the intersection over union of all pairs (W, G), 0 where the union is empty."""
    return np.nan_to_num(tiou_by_lengths(windows_W2, truth_G2))


def _first_window_iou(truth_G2: Floats, window_2: Floats) -> float:
    """Return the IoU with the true window that is overlapped most.

    The evaluator divides by the hull here, which is the union wherever two windows overlap but may
    differ from it by a rounding error; a threshold shows that.
    """
    best = _iou(window_2[None], truth_G2)[0].argmax()
    return float(np.nan_to_num(tiou_by_hull(window_2[None], truth_G2[[best]])).item())
