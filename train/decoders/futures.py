"""Several candidate futures from what a model says about each future step.

Logits of verbs and nouns per step in, sequences of (verb, noun) out. Pure NumPy. What is scored is
the best of a few candidates by edit distance, so they should cover the likely futures between
them: futures are drawn, and those that lie nearest to all drawn ones are chosen.

Shapes: Z future actions, V verbs, N nouns, P (verb, noun) pairs, M futures, C chosen futures, 2
verb and noun.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from scipy.sparse import csr_array
from scipy.special import log_softmax

__all__ = [
    "PairOrder",
    "central",
    "consensus",
    "continuation",
    "drawn",
    "drawn_in_order",
    "measure_pair_order",
    "most_probable",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DRAWN_FUTURES = 100
"""From which ``consensus`` chooses."""
MOST_PAIRS = 512
"""Ego4D's training actions are thousands; drawing from all takes seconds per window."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairOrder:
    """How actions follow one another."""

    pairs_P2: Integers
    """The actions that occur, sorted."""
    share_P: Floats
    """How often each occurs; they sum to one."""
    steps_PP: csr_array
    """How many steps there are from action (first axis) to action."""

    def narrowed(self, kept_K: Integers) -> "PairOrder":
        """Return the order of some of its actions."""
        return PairOrder(
            pairs_P2=self.pairs_P2[kept_K],
            share_P=self.share_P[kept_K],
            steps_PP=self.steps_PP[kept_K][:, kept_K],
        )


def measure_pair_order(sequences: Sequence[Integers]) -> PairOrder:
    """Count actions and steps in sequences (A, 2)."""
    pairs_P2, places = np.unique(np.concatenate(sequences), axis=0, return_inverse=True)
    counts_P = np.bincount(places)
    ends = np.cumsum([len(sequence) for sequence in sequences])
    by_sequence = np.split(places, ends[:-1])
    origins = np.concatenate([one[:-1] for one in by_sequence])
    steps = np.ones(len(origins)), (origins, np.concatenate([one[1:] for one in by_sequence]))
    return PairOrder(
        pairs_P2=pairs_P2,
        share_P=counts_P / counts_P.sum(),
        steps_PP=csr_array(steps, shape=(len(counts_P), len(counts_P))),
    )


def continuation(order: PairOrder, pair: tuple[int, int], num_actions: int) -> Integers:
    """Return what most often follows an action, then that one, and so on, (1, Z, 2)."""
    is_pair_P = (order.pairs_P2 == pair).all(axis=1)
    place = int(is_pair_P.argmax() if is_pair_P.any() else order.share_P.argmax())
    places = []
    for _ in range(num_actions):
        # The share decides between equal counts, and where nothing ever followed.
        place = int((order.steps_PP[[place]].toarray()[0] + order.share_P).argmax())
        places.append(place)
    return order.pairs_P2[places][None]


def most_probable(verb_ZV: Floats, noun_ZN: Floats) -> Integers:
    """Return the most probable verb and noun of each step, (1, Z, 2)."""
    return np.stack([verb_ZV.argmax(axis=1), noun_ZN.argmax(axis=1)], axis=1)[None]


def drawn(verb_ZV: Floats, noun_ZN: Floats, num_futures: int, rng: np.random.Generator) -> Integers:
    """Draw verb and noun of each step by themselves, (M, Z, 2)."""
    labels = [_draw(np.tile(logits, (num_futures, 1, 1)), rng) for logits in (verb_ZV, noun_ZN)]
    return np.stack(labels, axis=-1)


def consensus(
    verb_ZV: Floats,
    noun_ZN: Floats,
    order: PairOrder,
    weights_Z: Floats,
    count: int,
    rng: np.random.Generator,
) -> Integers:
    """Return the ``central`` ones of futures that are ``drawn_in_order``, (C, Z, 2)."""
    futures = drawn_in_order(verb_ZV, noun_ZN, order, weights_Z, DRAWN_FUTURES, rng)
    return central(futures, count)


def drawn_in_order(
    verb_ZV: Floats,
    noun_ZN: Floats,
    order: PairOrder,
    weights_Z: Floats,
    num_futures: int,
    rng: np.random.Generator,
) -> Integers:
    """Draw one action after the other, each given the one before it, (M, Z, 2).

    ``log p[z, i] = weight[z] * log(verb[z, i] * noun[z, i] / share[i]) + log step[previous, i]``: a
    hybrid of classifier and Markov chain (Bourlard and Morgan, 1994), where a score over the
    class's share stands for its likelihood. The first action has its share for a step. Each
    action's steps get one step more, spread as actions occur: what was never seen to follow is
    unlikely, not impossible. Only the ``MOST_PAIRS`` actions that are likeliest at some step are
    drawn from.
    """
    evidence_ZP = _evidence(verb_ZV, noun_ZN, order, weights_Z)
    if len(order.share_P) > MOST_PAIRS:
        best_P = (evidence_ZP + np.log(order.share_P)).max(axis=0)
        kept_K = np.sort(np.argpartition(best_P, -MOST_PAIRS)[-MOST_PAIRS:])
        order, evidence_ZP = order.narrowed(kept_K), evidence_ZP[:, kept_K]
    log_step_PP = np.log(order.steps_PP.toarray() + order.share_P)
    places_ZM = np.empty((len(evidence_ZP), num_futures), np.int64)
    log_step_MP = np.tile(np.log(order.share_P), (num_futures, 1))
    for place, evidence_P in enumerate(evidence_ZP):
        places_ZM[place] = _draw(evidence_P + log_step_MP, rng)
        log_step_MP = log_step_PP[places_ZM[place]]
    return order.pairs_P2[places_ZM.T]


def _evidence(verb_ZV: Floats, noun_ZN: Floats, order: PairOrder, weights_Z: Floats) -> Floats:
    verbs_P, nouns_P = order.pairs_P2.T
    log_p_ZP = log_softmax(verb_ZV, axis=1)[:, verbs_P] + log_softmax(noun_ZN, axis=1)[:, nouns_P]
    evidence_ZP: Floats = weights_Z[:, None] * (log_p_ZP - np.log(order.share_P))
    return evidence_ZP


def _draw(logits: Floats, rng: np.random.Generator) -> Integers:
    """Draw one class per distribution on the last axis (Gumbel-max trick)."""
    classes: Integers = (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)
    return classes


def central(futures_MZ2: Integers, count: int) -> Integers:
    """Choose the futures that minimise the mean edit distance of all to the nearest chosen one.

    They are chosen one by one; each is the best addition to those before it. Returns (C, Z, 2).
    """
    # Each pair as one number, as the distance is that of whole actions.
    codes = (futures_MZ2[..., 0] * (futures_MZ2[..., 1].max() + 1) + futures_MZ2[..., 1]).tolist()
    distances_MM = cdist(codes, codes, scorer=Levenshtein.distance, dtype=np.int32)
    nearest_M = np.full(len(codes), np.iinfo(np.int32).max)
    chosen = []
    for _ in range(count):
        best = int(np.minimum(distances_MM, nearest_M).sum(axis=1).argmin())
        nearest_M = np.minimum(nearest_M, distances_MM[best])
        chosen.append(best)
    return futures_MZ2[chosen]
