"""Action segmentation's metrics: frame accuracy, edit score and segmental F1.

Class ids per frame in, percent out. The rules are MS-TCN's ``eval.py``; ASFormer's copy differs in
one: it ends the last segment of a video one frame early. Lea et al., "Temporal Convolutional
Networks for Action Segmentation and Detection" (CVPR 2017) define edit score and F1.

Shapes: F frames of a video, S segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

__all__ = ["OVERLAPS", "LabelPair", "Segments", "segmental_scores", "segments_of"]

OVERLAPS = (0.10, 0.25, 0.50)
"""IoU a predicted segment must reach, for F1@k."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelPair:
    """One video's ground truth and prediction."""

    truth_F: NDArray[np.int64]
    predicted_F: NDArray[np.int64]
    """At least as long as the truth; accuracy leaves the rest out, edit and F1 do not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """Runs of one label, in time order, without background; ends are exclusive."""

    labels_S: NDArray[np.int64]
    starts_S: NDArray[np.int64]
    ends_S: NDArray[np.int64]


def segments_of(
    labels_F: NDArray[np.int64], background: int | None = None, *, last_ends_early: bool = False
) -> Segments:
    """Return the runs of equal labels of at least one frame.

    Args:
        labels_F: Class id per frame.
        background: Class whose runs are left out.
        last_ends_early: ASFormer's convention; a last run of one frame gets length 0.
    """
    starts_S = np.flatnonzero(np.diff(labels_F, prepend=labels_F[0] - 1))
    ends_S = np.append(starts_S[1:], len(labels_F) - int(last_ends_early))
    labels_S = labels_F[starts_S]
    kept = np.ones(len(labels_S), bool) if background is None else labels_S != background
    return Segments(labels_S=labels_S[kept], starts_S=starts_S[kept], ends_S=ends_S[kept])


def segmental_scores(
    pairs: Sequence[LabelPair], background: int | None = None, *, last_ends_early: bool = False
) -> dict[str, float]:
    """Return ``Acc``, ``Acc_video_mean``, ``Edit`` and ``F1@k`` of a set of videos, in percent.

    ``Acc`` pools the frames of all videos and ``F1@k`` their segments; ``Edit`` and
    ``Acc_video_mean`` are means over videos. Background counts in the accuracies only.
    """
    correct = [pair.truth_F == pair.predicted_F[: len(pair.truth_F)] for pair in pairs]
    truth, predicted = (
        [segments_of(labels, background, last_ends_early=last_ends_early) for labels in side]
        for side in ([pair.truth_F for pair in pairs], [pair.predicted_F for pair in pairs])
    )
    edits = [_edit_similarity(*both) for both in zip(predicted, truth, strict=True)]
    scores = {
        "Acc": np.concatenate(correct).mean(),
        "Acc_video_mean": np.mean([video.mean() for video in correct]),
        "Edit": np.mean(edits),
    }
    for overlap in OVERLAPS:
        scores[f"F1@{overlap:.2f}"] = _f1(predicted, truth, overlap)
    return {name: 100 * float(value) for name, value in scores.items()}


def _edit_similarity(predicted: Segments, truth: Segments) -> float:
    """Return 1 - Levenshtein distance of the label sequences / length of the longer one."""
    return float(
        Levenshtein.normalized_similarity(predicted.labels_S.tolist(), truth.labels_S.tolist())
    )


def _f1(predicted: Sequence[Segments], truth: Sequence[Segments], overlap: float) -> float:
    """Return 2 TP / (2 TP + FP + FN), counted over all videos; 0 where there is no segment."""
    hits = sum(_count_hits(*both, overlap) for both in zip(predicted, truth, strict=True))
    segments = sum(len(one.labels_S) for one in (*predicted, *truth))
    return 2 * hits / segments if segments else 0.0


def _count_hits(predicted: Segments, truth: Segments, overlap: float) -> int:
    """Count predicted segments whose best true segment of their class is free and reached."""
    if not len(truth.labels_S):
        return 0
    taken_S = np.zeros(len(truth.labels_S), bool)
    for label, start, end in zip(
        predicted.labels_S, predicted.starts_S, predicted.ends_S, strict=True
    ):
        intersection_S = np.minimum(end, truth.ends_S) - np.maximum(start, truth.starts_S)
        union_S = np.maximum(end, truth.ends_S) - np.minimum(start, truth.starts_S)
        # 0/0 occurs only for the two empty last segments of ASFormer's convention. There nan is
        # the first maximum and reaches no overlap: the rule is part of its published numbers.
        with np.errstate(invalid="ignore"):
            iou_S = intersection_S / union_S * (truth.labels_S == label)
        best = int(iou_S.argmax())
        if iou_S[best] >= overlap and not taken_S[best]:
            taken_S[best] = True
    return int(taken_S.sum())
