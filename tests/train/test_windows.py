import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.windows import count_crops, evaluation_windows, split, training_windows

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=8)


@given(LENGTHS, st.integers(1, 64), st.integers(0, 63))
def test_evaluation_predicts_every_row_once_with_its_past(lengths, window_rows, context_rows):
    context_rows = min(context_rows, window_rows - 1)
    counts = [np.zeros(num_rows, int) for num_rows in lengths]
    for window in evaluation_windows(lengths, window_rows, context_rows):
        first = window.start + window.num_context
        counts[window.sample][first : window.stop] += 1
        assert window.num_rows <= window_rows
        assert window.num_context >= min(first, context_rows)
    assert all((one == 1).all() for one in counts)


@given(LENGTHS, st.integers(1, 64), st.integers(0, 5))
def test_training_crops_lie_inside_their_sample(lengths, window_rows, epoch):
    windows = training_windows(lengths, window_rows, seed=1, epoch=epoch)
    crops = [sum(window.sample == index for window in windows) for index in range(len(lengths))]
    assert crops == [count_crops(num_rows, window_rows) for num_rows in lengths]
    for window in windows:
        num_rows = lengths[window.sample]
        assert 0 <= window.start < window.stop <= num_rows
        assert window.num_rows == min(window_rows, num_rows)


def test_training_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return training_windows([50, 9, 120], 16, seed=seed, epoch=epoch)

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(*pair)) for pair in [(1, 2), (1, 3), (2, 2)]}) == 3


def test_crops_reach_every_row_in_the_end():
    seen = np.zeros(100, bool)
    for epoch in range(40):
        for window in training_windows([100], 32, seed=0, epoch=epoch):
            seen[window.start : window.stop] = True
    assert seen.all()


@pytest.mark.parametrize(("size", "expected"), [(2, [2, 2, 1]), (0, [5]), (9, [5])])
def test_split_keeps_the_rest(size, expected):
    assert [len(part) for part in split(list(range(5)), size)] == expected


def test_split_of_nothing_is_nothing():
    assert split([], 0) == []
