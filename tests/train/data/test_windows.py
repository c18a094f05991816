import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.windows import (
    TaskWindows,
    count_batches,
    count_crops,
    epoch_batches,
    evaluation_windows,
    split,
    training_windows,
)

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


def test_an_epoch_of_one_task_shows_its_crops_in_their_order():
    batches = epoch_batches([TaskWindows(lengths=[50, 9])], 16, 2, seed=1, epoch=3)
    shown = [window for _, part in batches for window in part]
    assert shown == training_windows([50, 9], 16, seed=1, epoch=3)
    assert [len(part) for _, part in batches] == [2, 2]


@given(st.lists(LENGTHS, min_size=2, max_size=3), st.sampled_from([0.3, 1.0, 2.5]))
def test_weights_say_how_often_an_epoch_shows_a_tasks_crops(lengths, weight):
    tasks = [TaskWindows(lengths=one, weight=weight if i else 1.0) for i, one in enumerate(lengths)]
    batches = epoch_batches(tasks, 16, 4, seed=0, epoch=0)
    assert len(batches) == count_batches(tasks, 16, 4)
    for index, task in enumerate(tasks):
        crops = sum(count_crops(rows, 16) for rows in task.lengths)
        shown = sum(len(part) for place, part in batches if place == index)
        assert shown == max(1, round(crops * task.weight))


def test_batches_of_several_tasks_are_mixed():
    tasks = [TaskWindows(lengths=[200]), TaskWindows(lengths=[200])]
    order = [index for index, _ in epoch_batches(tasks, 10, 1, seed=0, epoch=0)]
    assert order.count(0) == order.count(1) == 20
    assert order != sorted(order)
    assert order != [index for index, _ in epoch_batches(tasks, 10, 1, seed=0, epoch=1)]


def test_a_second_pass_over_a_task_draws_other_crops():
    first, second = (training_windows([90], 16, seed=0, epoch=0, turn=turn) for turn in (0, 1))
    assert sorted(map(repr, first)) != sorted(map(repr, second))
