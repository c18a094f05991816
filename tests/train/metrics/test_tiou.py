import numpy as np
import pytest

from train.metrics.tiou import clipped_share, tiou_by_hull, tiou_by_lengths


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
