"""Moment queries' metrics: mAP over tIoU thresholds, and recall at multiples of the instances.

Segments with clip and class ids in, fractions out. The rules are those of Ego4D's
``eval_detection.py`` and ``get_retrieval_performance.py`` (EGO4D/episodic-memory, MQ); the first is
ActivityNet's (``train.metrics.activitynet``). They differ in how they compare: mAP sorts by score
and needs ``tIoU >= threshold``, recall takes the order of the file and needs ``tIoU > threshold``.

Shapes: N instances, P predictions, G instances of one class in one clip, T thresholds, 2 start and
end seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.metrics.activitynet import average_precisions, free_instance_hits
from train.metrics.tiou import tiou_by_hull, tiou_by_lengths

__all__ = ["Detections", "Instances", "mean_average_precisions", "retrieval_recalls"]

# Written out: np.linspace gives 0.30000000000000004, and exact overlaps occur.
MAP_TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5)
RECALL_TIOUS = (0.3, 0.5, 0.7)
RECALL_MULTIPLES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instances:
    """Labelled segments of many clips; repetitions count."""

    clips_N: NDArray[np.int64]
    classes_N: NDArray[np.int64]
    segments_N2: NDArray[np.float64]

    def of_class(self, class_id: int) -> NDArray[np.int64]:
        """Return the indices of a class, ascending."""
        return np.flatnonzero(self.classes_N == class_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Detections(Instances):
    """Predicted segments in the order of their file."""

    scores_N: NDArray[np.float64]


def mean_average_precisions(truth: Instances, detections: Detections) -> dict[str, float]:
    """Return ``mAP@t`` for each threshold and their mean ``average_mAP``.

    The mean runs over the classes that have an instance; detections of other classes do not count,
    those in clips without an instance do.
    """
    per_class = [
        _average_precisions(truth, detections, int(class_id))
        for class_id in np.unique(truth.classes_N)
    ]
    means = np.mean(per_class, axis=0)
    scores = {f"mAP@{tiou}": float(mean) for tiou, mean in zip(MAP_TIOUS, means, strict=True)}
    return scores | {"average_mAP": float(means.mean())}


def _average_precisions(
    truth: Instances, detections: Detections, class_id: int
) -> NDArray[np.float64]:
    """Return the interpolated average precision of one class at each threshold."""
    own_N, own_P = truth.of_class(class_id), detections.of_class(class_id)
    if not len(own_P):
        return np.zeros(len(MAP_TIOUS))
    # The evaluator's own call: which of equal scores comes first follows from it.
    order_P = own_P[detections.scores_N[own_P].argsort()[::-1]]
    return average_precisions(_hits(truth, own_N, detections, order_P), len(own_N))


def _hits(
    truth: Instances,
    own_N: NDArray[np.int64],
    detections: Detections,
    order_P: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Tell at each threshold which detections, taken in order, find a free instance (T, P).

    Each clip is matched by itself; two segments without length overlap by nan, which is a hit.
    """
    clips_N, clips_P = truth.clips_N[own_N], detections.clips_N[order_P]
    hits_TP = np.zeros((len(MAP_TIOUS), len(order_P)), bool)
    for clip in np.unique(clips_N):
        places = np.flatnonzero(clips_P == clip)
        tious_PG = tiou_by_lengths(
            detections.segments_N2[order_P[places]], truth.segments_N2[own_N[clips_N == clip]]
        )
        hits_TP[:, places] = free_instance_hits(tious_PG, MAP_TIOUS)
    return hits_TP


def retrieval_recalls(truth: Instances, detections: Detections) -> dict[str, float]:
    """Return ``Recall@kx_tIoU=t``: the share of instances that are found.

    An instance is found if one of the first k x n detections of its class in its clip, in the order
    of the file, overlaps it by more than t; n instances of the class are in the clip. One detection
    may find several.
    """
    found: dict[str, list[NDArray[np.bool_]]] = {}
    for tious_PG in _overlaps_by_clip_and_class(truth, detections):
        for tiou in RECALL_TIOUS:
            reached_PG = tious_PG > tiou
            for multiple in RECALL_MULTIPLES:
                first_PG = reached_PG[: multiple * tious_PG.shape[1]]
                key = f"Recall@{multiple}x_tIoU={tiou}"
                found.setdefault(key, []).append(np.logical_or.reduce(first_PG, axis=0))
    return {key: float(np.concatenate(values).mean()) for key, values in found.items()}


def _overlaps_by_clip_and_class(
    truth: Instances, detections: Detections
) -> Iterator[NDArray[np.float64]]:
    """Yield the (P, G) overlaps of each class in each clip where it has an instance."""
    predicted: dict[tuple[int, int], list[int]] = {}
    for index, pair in enumerate(_pairs(detections)):
        predicted.setdefault(pair, []).append(index)
    instances: dict[tuple[int, int], list[int]] = {}
    for index, pair in enumerate(_pairs(truth)):
        instances.setdefault(pair, []).append(index)
    for pair, indices in instances.items():
        yield tiou_by_hull(
            detections.segments_N2[predicted.get(pair, [])], truth.segments_N2[indices]
        )


def _pairs(instances: Instances) -> Iterator[tuple[int, int]]:
    return zip(instances.clips_N.tolist(), instances.classes_N.tolist(), strict=True)
