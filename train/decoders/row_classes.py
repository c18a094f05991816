"""From the scores of every row to one class per row; a row's class depends on no later row.

Pure NumPy. Shapes: T rows of a video, K classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

__all__ = ["ClassOrder", "causal_filter", "measure_order", "two_head"]

NEXT_WEIGHT = 0.5
"""Weight of what the previous row said about this one."""

COUNT_PRIOR = 0.1
"""Added to every count, so that an order never seen in training is unlikely, not impossible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassOrder:
    """How classes follow one another from row to row, as log-probabilities."""

    start_K: NDArray[np.float64]
    step_KK: NDArray[np.float64]
    """From class (first axis) to class."""


def two_head(current_TK: NDArray[np.float32], next_TK: NDArray[np.float32]) -> NDArray[np.int64]:
    """Let a row's own scores and the previous row's forecast of it decide together.

    Args:
        current_TK: Scores for each row's class.
        next_TK: Scores for the class of the row after it.
    """
    log_p_TK = log_softmax(current_TK, axis=1)
    log_p_TK[1:] += NEXT_WEIGHT * log_softmax(next_TK[:-1], axis=1)
    classes_T: NDArray[np.int64] = log_p_TK.argmax(axis=1)
    return classes_T


def measure_order(sequences: Iterable[NDArray[np.int64]], num_classes: int) -> ClassOrder:
    """Count starts and steps in label sequences, one label per row."""
    start_K = np.full(num_classes, COUNT_PRIOR)
    step_KK = np.full((num_classes, num_classes), COUNT_PRIOR)
    for labels_T in sequences:
        start_K[labels_T[0]] += 1
        np.add.at(step_KK, (labels_T[:-1], labels_T[1:]), 1)
    return ClassOrder(
        start_K=np.log(start_K / start_K.sum()),
        step_KK=np.log(step_KK / step_KK.sum(axis=1, keepdims=True)),
    )


def causal_filter(
    current_TK: NDArray[np.float32], order: ClassOrder, weight: float
) -> NDArray[np.int64]:
    """Return the most probable class of each row given the rows up to it.

    The forward pass of a hidden Markov model (Rabiner, 1989, eq. 19-20) in logarithms, with the
    scores as emissions raised to ``weight``:
    ``a[t, j] = weight * log p[t, j] + logsumexp over i of (a[t-1, i] + step[i, j])``.

    Args:
        current_TK: Scores for each row's class.
        order: Of the training videos.
        weight: How much the scores count against the order.
    """
    emissions_TK = weight * log_softmax(current_TK.astype(np.float64), axis=1)
    state_K = order.start_K + emissions_TK[0]
    classes_T = np.empty(len(emissions_TK), np.int64)
    for row, emission_K in enumerate(emissions_TK):
        if row:
            state_K = emission_K + logsumexp(state_K[:, None] + order.step_KK, axis=0)
        state_K = state_K - logsumexp(state_K)
        classes_T[row] = state_K.argmax()
    return classes_T
