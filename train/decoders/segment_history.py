"""Name rows by what was done before: which classes, in which order, for how long.

A hidden semi-Markov model (Yu, 2010, "Hidden semi-Markov models", section 3) whose next class
depends on every class that was there before, not on the last one alone: who has cut the cheese
and placed it will hardly cut it again. A row's class depends on no later row.

Pure NumPy; scikit-learn fits what follows what. Shapes: T rows of a video, K classes, H
hypotheses, S segments of training, L lengths of one in rows (1 up to the longest).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, ndtr, softmax

__all__ = ["SegmentHistory", "history_filter", "measure_history"]

Transcript = Sequence[tuple[int, int]]
"""Class and number of rows of each segment of a video."""

PENALTY = 1 / 3
"""Of squared weights in the regression that says what follows what."""
SURPRISE = 0.02
"""Share of segments whose class is anything, so that an order never seen is not impossible."""
LENGTH_PRIOR = 3
"""Segments of all classes that a class's lengths are averaged with."""
SHORTEST_SPREAD = 0.1
"""Standard deviation of log-lengths, at least."""
END_LIMITS = (0.001, 0.5)
"""Probability that a segment ends at a row, at least and at most: a length never seen can be."""

PRIOR_SHARE = 0.5
"""How much of its classes' frequencies is taken out of a network's scores, in which they are, as
they are in the history. Bourlard and Morgan (1994, "Connectionist speech recognition") take all
of it; of networks that see the past half was best (docs/decisions/0020)."""

MAX_HYPOTHESES = 50
MAX_GAP = 8.0
"""In log-probability to the best hypothesis; those further behind are dropped. 150 hypotheses and a
gap of 14 named 50Salads' held-out rows no better, in twice the time."""
MAX_SEGMENTS = 20_000
"""Of training, from which it is learned what follows what: more take minutes and say little new."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentHistory:
    """What follows what, and how long it takes, as log-probabilities."""

    frequency_K: NDArray[np.float64]
    """Of each class's rows among all."""
    bias_K: NDArray[np.float64]
    after_KK: NDArray[np.float64]
    """From the class of the last segment (first axis) to the next."""
    done_KK: NDArray[np.float64]
    """From each class that was there before (first axis) to the next."""
    stay_KL: NDArray[np.float64]
    """That a segment goes on after so many rows."""
    end_KL: NDArray[np.float64]

    def next_K(self, done: Sequence[int], last: int | None) -> NDArray[np.float64]:
        """Return how probable each class is as the next segment's.

        Args:
            done: Every class that was there, ``last`` among them.
            last: Class of the last segment; None before the first.
        """
        scores_K = self.bias_K + self.done_KK[list(done)].sum(axis=0)
        if last is None:
            known_K = softmax(scores_K)
        else:
            known_K = softmax(scores_K + self.after_KK[last])
            known_K[last] = 0  # two segments of one class are one segment
            known_K /= max(known_K.sum(), np.finfo(np.float64).tiny)
        probable_K: NDArray[np.float64] = (1 - SURPRISE) * known_K + SURPRISE / len(known_K)
        return np.log(probable_K)


def measure_history(transcripts: Sequence[Transcript], num_classes: int) -> SegmentHistory:
    """Fit what follows what by logistic regression, and lengths by log-normal distributions."""
    weights_FK, bias_K = _fit_order(transcripts, num_classes)
    classes_S, rows_S = np.array([segment for one in transcripts for segment in one]).T
    ending_KL = _ending_probability(classes_S, rows_S, num_classes)
    return SegmentHistory(
        frequency_K=_frequency(classes_S, rows_S, num_classes),
        bias_K=bias_K,
        after_KK=weights_FK[:num_classes],
        done_KK=weights_FK[num_classes:],
        stay_KL=np.log1p(-ending_KL),
        end_KL=np.log(ending_KL),
    )


def _frequency(
    classes_S: NDArray[np.int64], rows_S: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Return the logarithm of each class's share of all rows.

    A class without rows counts as one of the usual size: it neither gains nor loses by it.
    """
    rows_K = np.bincount(classes_S, weights=rows_S, minlength=num_classes)
    rows_K[rows_K == 0] = np.exp(np.log(rows_K[rows_K > 0]).mean())
    log_share_K: NDArray[np.float64] = np.log(rows_K / rows_K.sum())
    return log_share_K


def _fit_order(
    transcripts: Sequence[Transcript], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights of the last class and of all done ones, and the bias, for each next class."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if num_classes == 1:
        return np.zeros((2, 1)), np.zeros(1)
    # Each class a little without a history, so that all are known to the regression.
    seen = [(np.zeros(2 * num_classes), number, 0.1) for number in range(num_classes)]
    for transcript in _every_nth(transcripts):
        features_F = np.zeros(2 * num_classes)
        for number, _ in transcript:
            seen.append((features_F.copy(), number, 1.0))
            features_F[:num_classes] = 0
            features_F[[number, num_classes + number]] = 1
    features, classes, weights = (np.array(column) for column in zip(*seen, strict=True))
    fitted = LogisticRegression(C=1 / PENALTY, max_iter=1000)
    # Threads that multiply matrices as small as these mostly wait for each other: two of them took
    # 1.0 s for 650 segments and 37 classes, one 0.1 s, and no less for 20,000 and 300.
    with threadpool_limits(1), warnings.catch_warnings():
        # With few labels it takes the classes for measured values, and says so.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        fitted.fit(features, classes, sample_weight=weights)
    if num_classes == 2:  # scikit-learn holds the second's scores, where the first's are zero
        return np.pad(fitted.coef_.T, ((0, 0), (1, 0))), np.pad(fitted.intercept_, (1, 0))
    return fitted.coef_.T, fitted.intercept_


def _every_nth(transcripts: Sequence[Transcript]) -> Sequence[Transcript]:
    """Return evenly chosen transcripts that have about ``MAX_SEGMENTS`` at most."""
    segments = sum(len(transcript) for transcript in transcripts)
    return transcripts[:: 1 + segments // MAX_SEGMENTS]


def _ending_probability(
    classes_S: NDArray[np.int64], rows_S: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """Return how probable it is that a segment ends after each number of rows (K, L)."""
    of_all = np.log(rows_S)
    rows_L = np.arange(1, round(np.exp(of_all.max())) + 1)
    hazards = []
    for number in range(num_classes):
        own = of_all[classes_S == number]
        weight = len(own) + LENGTH_PRIOR
        middle = (own.sum() + LENGTH_PRIOR * of_all.mean()) / weight
        squares = ((own - middle) ** 2).sum() + LENGTH_PRIOR * of_all.var()
        spread = max(SHORTEST_SPREAD, float(np.sqrt(squares / weight)))
        reached_L = ndtr((middle - np.log(rows_L - 0.5)) / spread)
        passed_L = ndtr((middle - np.log(rows_L + 0.5)) / spread)
        hazards.append(1 - passed_L / np.maximum(reached_L, 1e-300))
    ending_KL: NDArray[np.float64] = np.clip(np.array(hazards), *END_LIMITS)
    return ending_KL


@dataclass(frozen=True, slots=True)
class _Hypotheses:
    """What may have happened up to a row."""

    past_H: NDArray[np.int64]
    """Number of each one's past among ``_Pasts``."""
    rows_H: NDArray[np.int64]
    """Length of the running segment."""
    log_p_H: NDArray[np.float64]


@dataclass(slots=True)
class _Pasts:
    """The pasts that were met, by number: which classes were done, and the running one."""

    history: SegmentHistory
    numbers: dict[tuple[frozenset[int], int], int] = field(default_factory=dict)
    known: list[tuple[frozenset[int], int]] = field(default_factory=list)
    next_K: list[NDArray[np.float64]] = field(default_factory=list)

    def number(self, done: frozenset[int], running: int) -> int:
        """Return the number of a past, a new one if it was not met yet."""
        past = (done | {running}, running)
        if past not in self.numbers:
            self.numbers[past] = len(self.known)
            self.known.append(past)
            self.next_K.append(self.history.next_K(sorted(past[0]), running))
        return self.numbers[past]

    def running(self, past_H: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the class of the running segment of each past."""
        return np.array([self.known[past][1] for past in past_H], np.int64)


def history_filter(
    current_TK: NDArray[np.float32], history: SegmentHistory, weight: float
) -> NDArray[np.int64]:
    """Return the most probable class of each row given the rows up to it.

    Sums over the most probable hypotheses (at most ``MAX_HYPOTHESES``) of which segments there
    were: at each row the running segment goes on or the next one starts.

    Args:
        current_TK: Scores for each row's class.
        history: Of the training videos.
        weight: How much the scores count against the history.
    """
    log_p_TK = log_softmax(current_TK.astype(np.float64), axis=1)
    emissions_TK = weight * (log_p_TK - PRIOR_SHARE * history.frequency_K)
    pasts = _Pasts(history)
    classes_T = np.empty(len(emissions_TK), np.int64)
    held = None
    for row, emission_K in enumerate(emissions_TK):
        held = _start(pasts, emission_K) if held is None else _go_on(pasts, held, emission_K)
        mass_K = np.zeros(len(emission_K))
        np.add.at(mass_K, pasts.running(held.past_H), np.exp(held.log_p_H))
        classes_T[row] = mass_K.argmax()
    return classes_T


def _start(pasts: _Pasts, emission_K: NDArray[np.float64]) -> _Hypotheses:
    """Return one hypothesis for each class of the first row."""
    log_p_K = pasts.history.next_K((), None) + emission_K
    past_K = [pasts.number(frozenset(), number) for number in range(len(emission_K))]
    return _merged(np.array(past_K), np.ones(len(emission_K), np.int64), log_p_K)


def _go_on(pasts: _Pasts, held: _Hypotheses, emission_K: NDArray[np.float64]) -> _Hypotheses:
    """Return what hypotheses become with one more row."""
    history = pasts.history
    running_H = pasts.running(held.past_H)
    length_H = np.minimum(held.rows_H, history.stay_KL.shape[1]) - 1
    stayed_H = held.log_p_H + history.stay_KL[running_H, length_H] + emission_K[running_H]
    ended_H = held.log_p_H + history.end_KL[running_H, length_H]
    next_HK = np.array([pasts.next_K[past] for past in held.past_H])
    moved_HK = ended_H[:, None] + next_HK + emission_K
    best = max(stayed_H.max(), moved_HK.max())
    moved = np.argwhere(moved_HK > best - MAX_GAP)
    new_past = [pasts.number(pasts.known[held.past_H[one]][0], int(to)) for one, to in moved]
    return _merged(
        np.concatenate([held.past_H, np.array(new_past, np.int64)]),
        np.concatenate([held.rows_H + 1, np.ones(len(new_past), np.int64)]),
        np.concatenate([stayed_H, moved_HK[moved[:, 0], moved[:, 1]]]),
    )


def _merged(
    past: NDArray[np.int64], rows: NDArray[np.int64], log_p: NDArray[np.float64]
) -> _Hypotheses:
    """Return the best hypotheses, equal ones as one, with probabilities that sum to one."""
    longest = rows.max() + 1
    equal_H, of_equal = np.unique(past * longest + rows, return_inverse=True)
    log_p_H = np.full(len(equal_H), -np.inf)
    np.logaddexp.at(log_p_H, of_equal, log_p)
    best = np.argsort(-log_p_H, kind="stable")[:MAX_HYPOTHESES]
    best = best[log_p_H[best] > log_p_H[best[0]] - MAX_GAP]
    past_H, rows_H = np.divmod(equal_H[best], longest)
    return _Hypotheses(past_H, rows_H, log_p_H[best] - np.logaddexp.reduce(log_p_H[best]))
