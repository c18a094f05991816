"""Anticipation's metrics: hits among listed actions, edit distance of the best of several futures.

Scores or label sequences in, hits or fractions out. The rules are those of EPIC-KITCHENS' C3
evaluator and of Ego4D's forecasting code (``lta_metrics.py``: plain Levenshtein on prefixes).

Shapes: S segments, V verbs, N nouns, A listed actions, W windows, C candidates, Z future actions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from train.metrics.framewise import top_k_hits

__all__ = ["area_under_edit_distance", "best_edit_distances", "composed_actions", "listed_hits"]


def listed_hits(
    actions_SA: NDArray[np.int64],
    scores_SA: NDArray[np.floating],
    labels_S: NDArray[np.int64],
    k: int = 5,
) -> NDArray[np.bool_]:
    """Tell for each segment whether its label is among the k best of its listed actions, (S,).

    A label that is not listed is a miss. Of equal scores the one listed later ranks first.
    """
    is_label_SA = actions_SA == labels_S[:, None]
    hits_S = top_k_hits(scores_SA, is_label_SA.argmax(axis=1), k)
    found_S: NDArray[np.bool_] = hits_S & is_label_SA.any(axis=1)
    return found_S


def composed_actions(
    verb_SV: NDArray[np.floating], noun_SN: NDArray[np.floating], k: int = 5
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return actions (``verb * N + noun``) and scores, (S, k * k), from scores of verbs and nouns.

    The rule is ``softmax(verb) * softmax(noun)``. In logarithms that is the sum of the two scores
    less one number per segment, so sums rank alike; and an action among the k best has a verb and a
    noun among the k best of theirs.
    """
    verbs_SK, nouns_SK = (
        np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k] for scores in (verb_SV, noun_SN)
    )
    actions_SKK = verbs_SK[:, :, None] * noun_SN.shape[1] + nouns_SK[:, None, :]
    scores_SKK = (
        np.take_along_axis(verb_SV, verbs_SK, axis=1)[:, :, None]
        + np.take_along_axis(noun_SN, nouns_SK, axis=1)[:, None, :]
    )
    num_segments = len(verb_SV)
    return actions_SKK.reshape(num_segments, -1), scores_SKK.reshape(num_segments, -1)


def best_edit_distances(
    candidates_WCZ: Sequence[Sequence[Sequence[int]]], truth_WZ: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Return for each length z of a prefix the mean edit distance of the best candidate, (Z,).

    ``ED[z] = mean over windows of min over candidates of Levenshtein(c[:z], truth[:z]) / z``, so
    different prefixes may have different best candidates, and a swap of neighbours costs two.

    Examples:
        >>> best_edit_distances([[[1, 2], [3, 4]]], [[3, 9]]).tolist()
        [0.0, 0.5]
    """
    lengths_Z = range(1, len(truth_WZ[0]) + 1)
    distances_WZ = [
        [min(Levenshtein.distance(one[:z], truth[:z]) for one in candidates) for z in lengths_Z]
        for candidates, truth in zip(candidates_WCZ, truth_WZ, strict=True)
    ]
    means_Z: NDArray[np.float64] = np.mean(distances_WZ, axis=0) / np.array(lengths_Z)
    return means_Z


def area_under_edit_distance(distances_Z: NDArray[np.float64]) -> float:
    """Return the area under the distances by the trapezoid rule, over Z - 1 steps.

    Examples:
        >>> area_under_edit_distance(np.array([0.0, 1.0, 1.0]))
        0.75
    """
    return float(np.trapezoid(distances_Z) / (len(distances_Z) - 1))
