import numpy as np
import pytest

from train.metrics.anticipation import (
    area_under_edit_distance,
    best_edit_distances,
    composed_actions,
    listed_hits,
)
from train.metrics.framewise import class_mean_recall


def naive_levenshtein(one, other):
    if not one or not other:
        return len(one) + len(other)
    return min(
        naive_levenshtein(one[1:], other) + 1,
        naive_levenshtein(one, other[1:]) + 1,
        naive_levenshtein(one[1:], other[1:]) + (one[0] != other[0]),
    )


def test_distances_are_those_of_a_naive_recursion():
    rng = np.random.default_rng(0)
    candidates = rng.integers(3, size=(4, 3, 6)).tolist()
    truth = rng.integers(3, size=(4, 6)).tolist()
    expected = [
        np.mean(
            [
                min(naive_levenshtein(one[:z], true[:z]) for one in own) / z
                for own, true in zip(candidates, truth, strict=True)
            ]
        )
        for z in range(1, 7)
    ]
    assert best_edit_distances(candidates, truth) == pytest.approx(expected)


def test_a_swap_of_neighbours_costs_two():
    assert best_edit_distances([[[2, 1]]], [[1, 2]]).tolist() == [1.0, 1.0]


def test_each_prefix_takes_its_own_best_candidate():
    candidates = [[1, 9, 9, 9], [9, 1, 2, 3]]
    assert best_edit_distances([candidates], [[1, 2, 3, 4]]).tolist() == [0.0, 0.5, 2 / 3, 0.5]


def test_the_area_is_a_trapezoid_over_all_steps_but_one():
    assert area_under_edit_distance(np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(2 / 3)


def test_a_label_that_is_not_listed_is_a_miss():
    listed = np.array([[4, 8, 6], [4, 8, 6], [4, 8, 6]])
    scores = np.array([[3.0, 2.0, 1.0]] * 3)
    assert listed_hits(listed, scores, np.array([8, 6, 5]), k=2).tolist() == [True, False, False]


def test_of_equal_scores_the_later_one_counts():
    listed = np.arange(8)[None].repeat(8, axis=0)
    hits = listed_hits(listed, np.zeros((8, 8)), np.arange(8))
    assert hits.tolist() == [False] * 3 + [True] * 5


def test_composed_actions_hold_the_best_products_of_softmax_scores():
    rng = np.random.default_rng(0)
    verbs, nouns = rng.normal(size=(30, 9)), rng.normal(size=(30, 12))
    actions, scores = composed_actions(verbs, nouns)
    best = np.take_along_axis(actions, np.argsort(-scores, axis=1)[:, :5], axis=1)
    soft = [np.exp(one) / np.exp(one).sum(1, keepdims=True) for one in (verbs, nouns)]
    products = (soft[0][:, :, None] * soft[1][:, None, :]).reshape(30, -1)
    assert best.tolist() == np.argsort(-products, axis=1)[:, :5].tolist()


def test_equal_scores_of_all_classes_do_not_make_every_action_a_hit():
    actions, scores = composed_actions(np.zeros((20, 4)), np.zeros((20, 5)))
    hits = listed_hits(actions, scores, np.arange(20))
    assert hits.sum() == 5
    assert class_mean_recall(hits, np.arange(20)) == 25.0
