from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_schema.recipe import SamplingRecipe
from cache_schema.timeline import RowClock, count_rows, rows_between

RATES = st.sampled_from(
    [Fraction(1), Fraction(2), Fraction(15), Fraction(25), Fraction(30000, 1001), Fraction(1, 3)]
)


def windows_of(num_frames, window, stride):
    return [
        range(row * stride, row * stride + window)
        for row in range(count_rows(num_frames, window, stride))
    ]


@pytest.mark.parametrize("window", range(1, 9))
@pytest.mark.parametrize("stride", range(1, 12))
def test_windows_cover_every_frame_in_reach_and_only_the_last_is_padded(window, stride):
    for num_frames in range(1, 60):
        windows = windows_of(num_frames, window, stride)
        assert all(frames.start < num_frames for frames in windows)
        assert all(frames.stop <= num_frames for frames in windows[:-1])
        covered = set().union(*windows)
        # A frame is out of reach if every window that holds it would start behind the last frame,
        # or if it lies in a gap between windows.
        starts = range(0, num_frames, stride)
        reach = {frame for start in starts for frame in range(start, start + window)}
        assert {frame for frame in range(num_frames) if frame in reach} <= covered


@pytest.mark.parametrize(
    ("triple", "rows"),
    [((0, 4, 3), 0), ((1, 1, 1), 1), ((16, 16, 16), 1), ((17, 16, 16), 2), ((10, 1, 4), 3)],
)
def test_rows_are_counted(triple, rows):
    assert count_rows(*triple) == rows


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 500), st.integers(1, 20), RATES, st.floats(0.01, 1))
def test_rows_as_wide_as_their_stride_cover_a_video_without_gaps(ticks, width, fps, last):
    end = float((ticks - 1 + Fraction(last)) / fps)
    sampling = SamplingRecipe(fps=fps, frames_per_window=width, stride_frames=width)
    times_R2 = RowClock(sampling, end).times(0, count_rows(ticks, width, width))
    assert times_R2[0, 0] == 0
    assert times_R2[-1, 1] == end
    np.testing.assert_array_equal(times_R2[1:, 0], times_R2[:-1, 1])
    assert (times_R2[:, 0] < times_R2[:, 1]).all()


def test_rows_do_not_drift_over_ten_hours():
    sampling = SamplingRecipe(fps=Fraction(30000, 1001), frames_per_window=1, stride_frames=1)
    (start, end) = RowClock(sampling, 1e9).times(1_080_000, 1)[0]
    assert (start, end) == (1_080_000 * 1001 / 30000, 1_080_001 * 1001 / 30000)


def test_without_a_rate_rows_take_their_frames_times():
    sampling = SamplingRecipe(fps=None, frames_per_window=2, stride_frames=2)
    clock = RowClock(sampling, 9.0)
    times_R2 = clock.times(0, 2, np.array([0.0, 1.0, 4.0]))
    assert times_R2.tolist() == [[0.0, 4.0], [4.0, 9.0]]
    with pytest.raises(ValueError, match="frame_seconds is needed"):
        clock.times(0, 1)


@st.composite
def row_times(draw):
    starts = np.cumsum(draw(st.lists(st.integers(0, 8), min_size=0, max_size=20))) / 4
    widths = np.array(draw(st.lists(st.integers(1, 12), min_size=20, max_size=20))) / 4
    ends = np.maximum.accumulate(starts + widths[: len(starts)])
    return np.stack([starts, ends], axis=1)


@settings(deadline=None, max_examples=200)
@given(row_times(), st.integers(-4, 200), st.integers(1, 60))
def test_rows_between_two_times_are_those_that_overlap(times_R2, start, length):
    start, end = start / 8, (start + length) / 8
    first, last = rows_between(times_R2, start, end)
    naive = [row for row, (a, b) in enumerate(times_R2) if a < end and b > start]
    assert list(range(first, last)) == naive
