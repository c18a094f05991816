import itertools

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from train.decoders.segment_history import (
    SURPRISE,
    SegmentHistory,
    history_filter,
    measure_history,
)

STEPS = [[(0, 4), (1, 3), (2, 4)], [(1, 3), (0, 5), (2, 4)]] * 10
"""Class 2 comes when both others were there, in either order."""


def probabilities(history: SegmentHistory, done: list[int], last: int | None) -> np.ndarray:
    return np.exp(history.next_K(done, last))


def test_what_comes_next_depends_on_all_that_was_done():
    history = measure_history(STEPS, 3)
    assert probabilities(history, [0], 0).argmax() == 1
    assert probabilities(history, [0, 1], 0).argmax() == 2
    assert probabilities(history, [0, 1], 1).argmax() == 2
    # The first segment: half of the videos begin with 0, half with 1.
    assert probabilities(history, [], None)[:2] == pytest.approx([0.5, 0.5], abs=0.05)


def test_what_follows_what_is_fitted_on_one_thread(monkeypatch):
    fit, threads = LogisticRegression.fit, set()

    def noting_fit(*arguments, **settings):
        threads.update(pool["num_threads"] for pool in threadpool_info())
        return fit(*arguments, **settings)

    monkeypatch.setattr(LogisticRegression, "fit", noting_fit)
    with threadpool_limits(2):
        measure_history(STEPS, 3)
        assert threads == {1}
        assert {pool["num_threads"] for pool in threadpool_info()} == {2}


def test_probabilities_sum_to_one_and_a_class_does_not_follow_itself():
    history = measure_history(STEPS, 3)
    for done, last in (([], None), ([0], 0), ([0, 1], 1), ([0, 1, 2], 2)):
        assert probabilities(history, done, last).sum() == pytest.approx(1)
        if last is not None:
            assert probabilities(history, done, last)[last] == pytest.approx(SURPRISE / 3)


def test_a_segment_ends_as_those_of_its_class_did():
    # Lengths of class 0: 4 and 8. With three segments' worth of all lengths (4, 8, 1, 1):
    history = measure_history([[(0, 4), (1, 1)], [(0, 8), (1, 1)]], 2)
    own, of_all = np.log([4, 8]), np.log([4, 8, 1, 1])
    middle = (own.sum() + 3 * of_all.mean()) / 5
    spread = np.sqrt((((own - middle) ** 2).sum() + 3 * of_all.var()) / 5)
    lengths = norm(middle, spread)
    at_three = lengths.cdf(np.log(3.5)) - lengths.cdf(np.log(2.5))
    expected = at_three / (1 - lengths.cdf(np.log(2.5)))
    assert np.exp(history.end_KL[0, 2]) == pytest.approx(expected)
    assert np.exp(history.end_KL) + np.exp(history.stay_KL) == pytest.approx(np.ones((2, 8)))


def log_p_of_path(history: SegmentHistory, path: tuple[int, ...], scores: np.ndarray) -> float:
    value, done, rows = 0.0, [], 0
    for row, number in enumerate(path):
        if row and number == path[row - 1]:
            value += history.stay_KL[number, min(rows, 5) - 1]
            rows += 1
        else:
            if row:
                value += history.end_KL[path[row - 1], min(rows, 5) - 1]
            last = path[row - 1] if row else None
            value += history.next_K(sorted(set(done)), last)[number]
            done.append(number)
            rows = 1
        value += scores[row, number]
    return value


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_the_filter_sums_over_every_history_up_to_each_row(weight, monkeypatch):
    # Nothing is dropped here, and a class may follow itself as a new segment in the filter, which
    # is the surprise's share: without it each sequence of classes is one history.
    monkeypatch.setattr("train.decoders.segment_history.SURPRISE", 1e-12)
    monkeypatch.setattr("train.decoders.segment_history.MAX_GAP", 1e9)
    monkeypatch.setattr("train.decoders.segment_history.MAX_HYPOTHESES", 10_000)
    rng = np.random.default_rng(0)
    history = measure_history(STEPS, 3)
    scores = rng.normal(size=(6, 3)).astype(np.float32)
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    log_p = weight * (log_p - 0.5 * history.frequency_K)
    expected = []
    for last in range(6):
        mass = np.zeros(3)
        for path in itertools.product(range(3), repeat=last + 1):
            mass[path[-1]] += np.exp(log_p_of_path(history, path, log_p))
        expected.append(int(mass.argmax()))
    assert len(set(expected)) > 1
    assert history_filter(scores, history, weight).tolist() == expected


def test_what_was_done_decides_between_equal_scores():
    history = measure_history(STEPS, 3)
    sure_0, sure_1, either = [9.0, 0, 0], [0, 9.0, 0], [-9.0, 0, 0]
    only_0 = np.array([sure_0] * 4 + [either] * 2, np.float32)
    assert history_filter(only_0, history, 1.0).tolist() == [0] * 4 + [1] * 2
    both = np.array([sure_0] * 4 + [sure_1] * 4 + [either] * 3, np.float32)
    named = history_filter(both, history, 1.0).tolist()
    assert named[:8] == [0] * 4 + [1] * 4
    assert named[-1] == 2


def test_half_of_the_frequency_is_taken_out_of_the_scores():
    history = measure_history([[(0, 9), (1, 1), (0, 8)], [(1, 1), (0, 9)]], 3)
    assert np.exp(history.frequency_K) == pytest.approx(np.array([26, 2, 52**0.5]) / (28 + 52**0.5))
    # As far apart as half of how much more frequent class 0 is: neither has more to be said for it.
    level = 0.5 * np.log(26 / 2)
    for score, expected in ((level + 0.1, 0), (level - 0.1, 1)):
        scores = np.array([[score, 0, -9]], np.float32)
        assert history_filter(scores, history, 50.0).tolist() == [expected]


def test_the_filter_does_not_look_ahead_and_survives_long_videos():
    rng = np.random.default_rng(1)
    history = measure_history(STEPS, 3)
    scores = rng.normal(size=(2000, 3)).astype(np.float32) * 10
    whole = history_filter(scores, history, 3.0)
    assert (history_filter(scores[:700], history, 3.0) == whole[:700]).all()


def test_few_labels_are_no_reason_to_warn():
    measure_history([[(number, 4) for number in range(20)]], 40)  # a warning fails the test


def test_one_video_of_one_segment_is_history_enough():
    history = measure_history([[(1, 5)]], 3)
    scores = np.zeros((4, 3), np.float32)
    assert history_filter(scores, history, 1.0)[0] == 1
