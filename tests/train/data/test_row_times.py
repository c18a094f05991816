import numpy as np
import pytest

from train.data.row_times import rows_at, rows_completed_by


def even_rows(num_rows, rows_per_second):
    starts = np.arange(num_rows) / rows_per_second
    return np.stack([starts, starts + 1 / rows_per_second], axis=1)


@pytest.mark.parametrize("rows_per_second", [1, 2, 4, 15])
def test_an_instant_gets_the_row_that_covers_it(rows_per_second):
    times = even_rows(60, rows_per_second)
    instants = (np.arange(200) + 0.5) / 53
    naive = [
        next(i for i, (start, end) in enumerate(times) if start <= t < end)
        if t < times[-1, 1]
        else 59
        for t in instants
    ]
    assert rows_at(times, instants).tolist() == naive


def test_of_overlapping_rows_the_one_with_the_nearest_centre_counts():
    times = np.array([[0.0, 4.0], [1.0, 5.0], [2.0, 6.0]])  # centres 2, 3, 4
    assert rows_at(times, np.array([0.5, 2.4, 2.6, 3.6])).tolist() == [0, 0, 1, 2]


def test_gaps_and_both_ends_are_filled_from_a_neighbour():
    times = np.array([[1.0, 2.0], [4.0, 5.0]])
    assert rows_at(times, np.array([0.0, 3.9, 9.0])).tolist() == [0, 0, 1]


def test_no_row_counts_as_completed_before_it_ends():
    times = even_rows(3, 2)
    instants = np.array([0.49, 0.5, 0.99, 1.5, 8.0])
    assert rows_completed_by(times, instants).tolist() == [-1, 0, 0, 2, 2]
