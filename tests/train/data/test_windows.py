import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.windows import (
    CHUNK_BATCHES,
    TaskWindows,
    batches_by_length,
    count_batches,
    count_crops,
    epoch_batches,
    evaluation_windows,
    split,
    training_windows,
)
from train.task import Window

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


@given(LENGTHS, st.integers(1, 5), st.integers(0, 3))
def test_an_epoch_of_one_task_shows_each_of_its_crops_once(lengths, batch_size, epoch):
    batches = epoch_batches([TaskWindows(lengths=lengths)], 16, batch_size, seed=1, epoch=epoch)
    shown = [window for _, part in batches for window in part]
    crops = training_windows(lengths, 16, seed=1, epoch=epoch)
    assert sorted(shown, key=lambda one: one.seed) == sorted(crops, key=lambda one: one.seed)
    sizes = sorted(len(part) for _, part in batches)
    assert sizes[1:] == [batch_size] * (
        len(crops) // batch_size + (len(crops) % batch_size > 0) - 1
    )
    assert sizes[0] == (len(crops) % batch_size or batch_size)


def whole_samples(lengths):
    return [Window(sample=sample, start=0, stop=rows) for sample, rows in enumerate(lengths)]


def sizes_of(batches):
    return sorted([window.num_rows for window in batch] for batch in batches)


def test_a_batch_holds_windows_of_neighbouring_lengths():
    windows = whole_samples([5, 40, 7, 30, 6, 41])
    batches = batches_by_length(windows, (), 2, np.random.default_rng(0))
    assert sizes_of(batches) == [[5, 6], [7, 30], [40, 41]]


def test_the_words_of_a_query_count_as_tokens():
    windows = whole_samples([10, 10, 10, 9])
    batches = batches_by_length(windows, [3, 1, 8, 9], 2, np.random.default_rng(0))
    assert {tuple(window.sample for window in batch) for batch in batches} == {(1, 0), (2, 3)}


def test_neighbours_are_looked_for_in_a_chunk_only():
    # The two shortest windows stand in different chunks, so they do not meet.
    lengths = [1, *[50] * (2 * CHUNK_BATCHES - 1), 2, 90]
    batches = batches_by_length(whole_samples(lengths), (), 2, np.random.default_rng(0))
    assert sizes_of(batches) == [[1, 50], [2, 90], *[[50, 50]] * (CHUNK_BATCHES - 1)]


def test_a_smaller_batch_holds_now_short_now_long_windows():
    windows = whole_samples([10, 20, 30, 40, 50])
    smaller = {
        batch[0].num_rows
        for seed in range(30)
        for batch in batches_by_length(windows, (), 2, np.random.default_rng(seed))
        if len(batch) == 1
    }
    assert smaller == {10, 30, 50}


def test_batches_of_one_task_come_in_another_order_every_epoch():
    def lengths(epoch):
        task = TaskWindows(lengths=list(range(1, 41)))
        return [part[0].num_rows for _, part in epoch_batches([task], 64, 2, seed=0, epoch=epoch)]

    assert lengths(0) == lengths(0)
    assert lengths(0) != lengths(1)
    assert sorted(lengths(0)) == sorted(lengths(1)) == list(range(1, 41, 2))
    assert lengths(0) != sorted(lengths(0))


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
