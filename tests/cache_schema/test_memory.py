import numpy as np
import pytest

from cache_schema import StoreError, imported_recipe
from cache_schema.memory import memory_stream

RECIPE = imported_recipe("toy", fps=2)
TIMES_R2 = np.array([[0.0, 0.5], [0.5, 1.0], [1.0, 1.5]])
VALUES_RD = np.arange(6, dtype=np.float16).reshape(3, 2)


def test_rows_and_times_are_read_as_they_were_given():
    stream = memory_stream(RECIPE, {"a": (VALUES_RD, TIMES_R2)})
    rows = stream.read("a", 0.5, 1.5)
    assert rows.float32.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert rows.times_R2.tolist() == TIMES_R2[1:].tolist()


def test_times_may_be_of_another_dtype():
    stream = memory_stream(RECIPE, {"a": (VALUES_RD, TIMES_R2.astype(np.float32))})
    assert stream.times("a").tolist() == TIMES_R2.tolist()


def test_a_row_without_a_time_is_refused():
    with pytest.raises(StoreError, match=r"'a' has 3 rows and times \(2, 2\)"):
        memory_stream(RECIPE, {"a": (VALUES_RD, TIMES_R2[:2])})
