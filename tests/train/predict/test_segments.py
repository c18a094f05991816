import numpy as np
import pytest

from train.predict.segments import clipped_share, nms, soft_nms, tiou_by_hull, tiou_by_lengths


def segments(*bounds):
    return np.array(bounds, np.float64).reshape(-1, 2)


@pytest.mark.parametrize("tiou", [tiou_by_hull, tiou_by_lengths])
def test_tiou_is_intersection_over_union(tiou):
    a, b = segments((0, 4), (5, 6)), segments((2, 6), (4, 5), (0, 4))
    expected = [[2 / 6, 0, 1], [1 / 4, 0, 0]]
    np.testing.assert_allclose(tiou(a, b), expected)


def test_an_empty_segment_overlaps_nothing():
    empty, other = segments((1, 1)), segments((0, 2))
    assert tiou_by_hull(empty, other) == tiou_by_lengths(empty, other) == 0


def test_two_empty_segments_are_nan_everywhere_by_lengths_and_at_one_instant_by_hull():
    one, another = segments((1, 1)), segments((3, 3))
    assert np.isnan(tiou_by_lengths(one, another)).all()
    assert tiou_by_hull(one, another) == 0
    assert np.isnan(tiou_by_hull(one, one)).all()


def test_no_segments_give_an_empty_table():
    assert tiou_by_hull(segments(), segments((0, 1))).shape == (0, 1)


def test_segments_are_cut_and_the_share_that_is_left_is_told():
    cut, share = clipped_share(segments((0, 4), (2, 3), (5, 9), (8, 9)), 1, 6)
    assert cut.tolist()[:3] == [[1, 4], [2, 3], [5, 6]]
    assert share.tolist() == [0.75, 1, 0.25, 0]


def test_a_segment_without_length_is_inside_or_not():
    _, share = clipped_share(segments((1, 1), (5, 5), (6, 6), (0, 0)), 1, 6)
    assert share.tolist() == [1, 1, 0, 0]


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
