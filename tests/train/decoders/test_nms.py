import numpy as np
import pytest

from train.decoders.nms import nms, soft_nms
from train.metrics.tiou import tiou_by_hull


def segments(*bounds):
    return np.array(bounds, np.float64).reshape(-1, 2)


def test_nms_keeps_the_best_of_overlapping_segments():
    candidates = segments((0, 10), (1, 10), (20, 30), (6, 16))
    scores = np.array([0.5, 0.9, 0.1, 0.2])
    # tIoU with (1, 10): 0.9, 0, 4/15.
    assert nms(candidates, scores, 0.4, 9).tolist() == [1, 3, 2]
    assert nms(candidates, scores, 0.2, 9).tolist() == [1, 2]
    assert nms(candidates, scores, 0.4, 2).tolist() == [1, 3]


def test_nms_keeps_an_overlap_of_exactly_the_threshold_and_the_first_of_equals():
    assert nms(segments((0, 2), (1, 2)), np.array([1.0, 1.0]), 0.5, 9).tolist() == [0, 1]
    assert nms(segments((0, 2), (0, 2)), np.array([1.0, 1.0]), 0.5, 9).tolist() == [0]


def test_soft_nms_lowers_scores_by_overlap():
    candidates = segments((0, 10), (0, 5), (20, 30))
    order, scores = soft_nms(candidates, np.array([0.9, 0.8, 0.5]), 0.5, 9)
    # tIoU of the first two is 0.5.
    assert order.tolist() == [0, 2, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.5, 0.8 * np.exp(-0.25 / 0.5)])


def test_soft_nms_equals_a_naive_loop():
    rng = np.random.default_rng(0)
    candidates, scores = np.sort(rng.random((30, 2)), axis=1), rng.random(30)
    order, lowered = soft_nms(candidates, scores, 0.46, 12)
    left, expected = dict(enumerate(scores.tolist())), []
    while len(expected) < 12:
        best = max(left, key=left.__getitem__)
        expected.append((best, left.pop(best)))
        for other in left:
            overlap = tiou_by_hull(candidates[[best]], candidates[[other]]).item()
            left[other] *= np.exp(-(overlap**2) / 0.46)
    assert order.tolist() == [index for index, _ in expected]
    assert lowered.tolist() == pytest.approx([score for _, score in expected])
