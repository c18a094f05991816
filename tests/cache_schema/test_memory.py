"""Rows in memory read as rows of a store do."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from cache_schema.errors import StoreError
from cache_schema.memory import memory_stream
from tests.train.toy import learnable, make_store, recipe, times


def rows(name="a", num_rows=5):
    return learnable(name, num_rows), times(num_rows)


def test_they_read_as_those_of_a_store(tmp_path):
    values = {name: learnable(name, count) for name, count in (("b", 4), ("a", 5))}
    stored = make_store(tmp_path / "f.zarr", values, dtype="float32").stream()
    made = memory_stream(
        stored.recipe, {name: (one, times(len(one))) for name, one in values.items()}
    )
    assert (made.video_ids, made.row_shape) == (["a", "b"], stored.row_shape)
    for name in values:
        there, here = stored.read(name), made.read(name)
        np.testing.assert_array_equal(here.values, there.values)
        np.testing.assert_array_equal(here.times_R2, there.times_R2)
        np.testing.assert_array_equal(made.times(name), stored.times(name))
    part = made.read("a", 1.0, 2.0)
    np.testing.assert_array_equal(part.times_R2, [[1.0, 1.5], [1.5, 2.0]])


def test_windows_are_filled_and_zeroed_behind_their_rows():
    values, row_times = rows()
    made = memory_stream(recipe(), {"a": (values, row_times)})
    out = np.full((2, 3, values.shape[1]), 7, made.numpy_dtype)
    made.read_windows([("a", 0, 3), ("a", 3, 2)], out)
    np.testing.assert_array_equal(out[0], values[:3])
    np.testing.assert_array_equal(out[1], [*values[3:], np.zeros(values.shape[1])])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_of_any_width_become_float32_and_the_recipe_says_so(dtype):
    values, row_times = rows()
    made = memory_stream(recipe("bfloat16"), {"a": (values.astype(dtype), row_times)})
    assert made.recipe == replace(recipe("bfloat16"), store_dtype="float32")
    assert made.read("a").values.dtype == np.float32
    np.testing.assert_array_equal(made.read("a").values, values.astype(dtype).astype(np.float32))


def test_grids_and_single_rows_are_rows():
    made = memory_stream(recipe(), {"a": (np.ones((1, 4, 6)), times(1))})
    assert (made.row_shape, made.num_rows) == ((4, 6), 1)
    assert made.commit("a").video.duration_seconds == 0.5


def test_what_is_changed_later_does_not_change_the_rows():
    values, row_times = rows()
    made = memory_stream(recipe(), {"a": (values, row_times)})
    before, row_times[0, 0], values[0] = values.copy(), -7, 7
    np.testing.assert_array_equal(made.read("a").values, before)
    assert made.times("a")[0, 0] == 0.0


def test_rates_need_not_be_known():
    unknown = replace(recipe(), sampling=replace(recipe().sampling, fps=None))
    made = memory_stream(unknown, {"a": rows()})
    assert made.commit("a").video.fps == Fraction(2)


@pytest.mark.parametrize(
    ("values", "row_times", "message"),
    [
        (np.ones((0, 6)), np.ones((0, 2)), r"'a': has shape \(0, 6\), expected"),
        (np.ones(6), times(6), r"'a': has shape \(6,\), expected \(rows, dim\)"),
        (np.ones((2, 6), int), times(2), "'a': holds int64, expected an array of floating"),
        (np.full((2, 6), np.nan), times(2), "'a': 2 of 2 rows hold NaN"),
        (np.ones((2, 6)), times(3), r"'a': times have shape \(3, 2\), expected \(2, 2\)"),
        (np.ones((2, 6)), np.ones(2), r"'a': times have shape \(2,\), expected \(2, 2\)"),
        (np.ones((2, 6)), times(2)[::-1], "'a': times must be finite seconds"),
        (np.ones((2, 6)), times(2) * np.nan, "'a': times must be finite"),
    ],
)
def test_what_no_store_would_take_is_refused(values, row_times, message):
    with pytest.raises(StoreError, match=message):
        memory_stream(recipe(), {"a": (values, row_times)})


def test_rows_of_different_shapes_are_no_stream():
    with pytest.raises(StoreError, match="2 shapes, expected one"):
        memory_stream(recipe(), {"a": rows(), "b": (np.ones((2, 3)), times(2))})
    with pytest.raises(StoreError, match="0 shapes, expected one"):
        memory_stream(recipe(), {})
