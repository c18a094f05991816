import numpy as np
import pytest

from extract.store_page.dimensions import DimensionSums


def facts(values, dtype="float32", block=7):
    sums = DimensionSums(values.shape[1], dtype)
    for start in range(0, len(values), block):
        sums.add(values[start : start + block])
    return sums.facts()


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(3, 2, (100, 5)).astype(np.float32)


def test_blocks_add_up_to_what_numpy_says_of_all_values(values):
    values[:, 2] += 1e4  # far from zero, where sums of squares lose their digits
    found = facts(values)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(found.mean_D, exact.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.deviation_D, exact.std(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found.low_D, values.min(axis=0))
    np.testing.assert_array_equal(found.high_D, values.max(axis=0))
    assert (found.constant, found.nearly_constant, found.not_finite) == ([], [], [])


def test_dead_and_nearly_dead_dimensions_are_named(values):
    values[:, 1] = 0.25
    values[:, 4] = 1 + 0.0001 * values[:, 0]
    found = facts(values)
    assert (found.constant, found.nearly_constant) == ([1], [4])


def test_if_every_dimension_is_dead_none_is_nearly_so():
    found = facts(np.ones((9, 3), np.float32))
    assert (found.constant, found.nearly_constant) == ([0, 1, 2], [])


def test_values_that_are_no_number_are_counted_and_left_out(values):
    values[3, 0] = np.nan
    values[4, 0] = -np.inf
    values[:, 3] = np.nan
    found = facts(values)
    assert found.num_not_finite_D.tolist() == [2, 0, 0, 100, 0]
    rest = np.delete(values[:, 0], [3, 4]).astype(np.float64)
    assert found.mean_D[0] == pytest.approx(rest.mean())
    assert found.low_D[0] == rest.min()
    assert np.isnan(found.mean_D[3])
    summary = found.summary()
    assert summary["not_finite"] == {"0": 2, "3": 100}
    assert summary["mean"][3] is None


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [("float16", 65504.0), ("bfloat16", 3.3895313892515355e38), ("float32", 3.4028234663852886e38)],
)
def test_values_at_the_limit_of_the_dtype_are_counted(values, dtype, largest):
    values[5:8, 2] = largest
    values[9, 2] = -largest
    found = facts(values, dtype)
    assert found.num_largest_D.tolist() == [0, 0, 4, 0, 0]
    assert found.summary()["at_largest"] == {"2": 4}
