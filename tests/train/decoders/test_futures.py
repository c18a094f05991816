import numpy as np
import pytest

from train.decoders import futures as candidates
from train.decoders.futures import (
    central,
    consensus,
    continuation,
    drawn,
    drawn_in_order,
    measure_pair_order,
    most_probable,
)

A, B, C = (0, 1), (1, 0), (1, 1)


def future(*pairs):
    return np.array(pairs)


@pytest.fixture
def order():
    return measure_pair_order([future(A, B, A, B, C), future(B, A, B)])


def test_steps_are_counted_inside_each_sequence(order):
    assert order.pairs_P2.tolist() == [list(A), list(B), list(C)]
    assert order.share_P.tolist() == [3 / 8, 4 / 8, 1 / 8]
    assert order.steps_PP.toarray().tolist() == [[0, 3, 0], [2, 0, 1], [0, 0, 0]]


def test_the_most_probable_future_takes_verbs_and_nouns_by_themselves():
    verbs, nouns = np.array([[0.0, 2.0], [1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])
    assert most_probable(verbs, nouns).tolist() == [[list(B), list(A)]]


def test_a_continuation_follows_the_most_frequent_steps(order):
    assert continuation(order, A, 3).tolist() == [[list(B), list(A), list(B)]]
    # After C nothing was ever seen, and (0, 0) not at all: the most frequent action decides.
    assert continuation(order, C, 2).tolist() == [[list(B), list(A)]]
    assert continuation(order, (0, 0), 2).tolist() == [[list(A), list(B)]]


def test_draws_follow_the_scores():
    logits = np.log(np.array([[0.7, 0.3], [0.1, 0.9]]))
    futures = drawn(logits, logits[::-1], 4000, np.random.default_rng(0))
    assert futures.shape == (4000, 2, 2)
    expected = [[0.3, 0.9], [0.9, 0.3]]
    np.testing.assert_allclose(futures.mean(axis=0), expected, atol=0.03)


def test_draws_in_order_follow_the_hybrid_formula(order):
    rng = np.random.default_rng(1)
    verbs, nouns = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    weights = np.array([1.0, 0.5])
    futures = drawn_in_order(verbs, nouns, order, weights, 20000, np.random.default_rng(0))
    soft = [np.exp(one) / np.exp(one).sum(1, keepdims=True) for one in (verbs, nouns)]
    p = np.array([[soft[0][z, v] * soft[1][z, n] for v, n in (A, B, C)] for z in range(2)])
    first = p[0] / p[0].sum()
    counts = np.array([[0, 3, 0], [2, 0, 1], [0, 0, 0]]) + order.share_P
    steps = (p[1] / order.share_P) ** 0.5 * counts / counts.sum(axis=1, keepdims=True)
    joint = first[:, None] * steps / steps.sum(axis=1, keepdims=True)
    codes = futures @ (2, 1) - 1
    found = [[np.mean((codes == (i, j)).all(axis=1)) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(found, joint, atol=0.012)


def test_of_many_actions_the_likeliest_are_drawn_from(order, monkeypatch):
    monkeypatch.setattr(candidates, "MOST_PAIRS", 2)
    zeros = np.zeros((3, 2))
    futures = drawn_in_order(zeros, zeros, order, np.zeros(3), 200, np.random.default_rng(0))
    assert {tuple(pair) for pair in futures.reshape(-1, 2).tolist()} == {A, B}


def test_central_futures_cover_all_of_them_between_them():
    near_a, near_b = future(A, A, A, B), future(B, B, B, B)
    futures = np.stack([near_b, near_a, future(A, A, A, A), future(A, A, C, B), near_b])
    assert central(futures, 2).tolist() == [near_a.tolist(), near_b.tolist()]
    assert len(central(futures, 7)) == 7


def test_confident_scores_decide_against_the_order(order):
    verbs = 50.0 * np.eye(2)[[1, 1, 1]]
    futures = consensus(verbs, verbs, order, np.ones(3), 2, np.random.default_rng(0))
    assert futures.tolist() == [[list(C)] * 3] * 2
