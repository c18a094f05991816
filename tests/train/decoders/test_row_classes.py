import itertools

import numpy as np
import pytest

from train.decoders.row_classes import causal_filter, measure_order, two_head


def test_two_heads_let_the_previous_row_overrule_a_close_call():
    current = np.log([[0.9, 0.1], [0.45, 0.55]]).astype(np.float32)
    following = np.log([[0.8, 0.2], [0.5, 0.5]]).astype(np.float32)
    # Row 1: class 0 has 0.45 * sqrt(0.8) = 0.402, class 1 has 0.55 * sqrt(0.2) = 0.246.
    assert two_head(current, following).tolist() == [0, 0]


def test_order_is_the_smoothed_share_of_each_step():
    order = measure_order([np.array([0, 0, 1]), np.array([0, 1, 1])], 2)
    assert np.exp(order.start_K) == pytest.approx([2.1 / 2.2, 0.1 / 2.2])
    assert np.exp(order.step_KK[0]) == pytest.approx([1.1 / 3.2, 2.1 / 3.2])
    assert np.exp(order.step_KK[1]) == pytest.approx([0.1 / 1.2, 1.1 / 1.2])


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_the_filter_sums_over_every_path_up_to_each_row(weight):
    rng = np.random.default_rng(0)
    order = measure_order([rng.integers(3, size=20) for _ in range(4)], 3)
    scores = rng.normal(size=(5, 3)).astype(np.float32)
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = []
    for last in range(5):
        mass = np.zeros(3)
        for path in itertools.product(range(3), repeat=last + 1):
            value = order.start_K[path[0]] + weight * log_p[0, path[0]]
            for row in range(1, last + 1):
                value += order.step_KK[path[row - 1], path[row]] + weight * log_p[row, path[row]]
            mass[path[-1]] += np.exp(value)
        expected.append(int(mass.argmax()))
    assert causal_filter(scores, order, weight).tolist() == expected


def test_the_filter_does_not_look_ahead_and_survives_long_videos():
    rng = np.random.default_rng(1)
    order = measure_order([rng.integers(4, size=50)], 4)
    scores = rng.normal(size=(5000, 4)).astype(np.float32) * 30
    whole = causal_filter(scores, order, 8.0)
    assert (causal_filter(scores[:700], order, 8.0) == whole[:700]).all()
