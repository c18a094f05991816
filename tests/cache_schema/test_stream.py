import numpy as np
import pytest

from cache_schema import ConfigError, RowSpan, as_float32
from cache_schema.testing import make_store


@pytest.mark.parametrize("store_dtype", ["float16", "bfloat16", "float32"])
def test_rows_are_numbers_to_compute_with_on_request(tmp_path, store_dtype):
    rows = make_store(tmp_path / "f.zarr", {"a": 5}, store_dtype=store_dtype).stream().read("a")
    assert len(rows) == 5
    assert rows.float32.dtype == np.float32
    np.testing.assert_array_equal(rows.float32, as_float32(rows.values, store_dtype))
    assert 0.1 < np.abs(rows.float32).max() < 10  # bits taken for numbers would be in thousands


@pytest.mark.parametrize(
    ("rows", "stride", "expected"),
    [
        (4, None, [("a", 0, 4), ("a", 4, 4), ("a", 8, 1), ("b", 0, 2)]),
        (4, 2, [("a", 0, 4), ("a", 2, 4), ("a", 4, 4), ("a", 6, 3), ("b", 0, 2)]),
        (2, 5, [("a", 0, 2), ("a", 5, 2), ("b", 0, 2)]),
        (99, None, [("a", 0, 9), ("b", 0, 2)]),
    ],
)
def test_windows_cover_the_videos_in_order(tmp_path, rows, stride, expected):
    stream = make_store(tmp_path / "f.zarr", {"b": 2, "a": 9}).stream()
    windows = stream.windows(rows, stride_rows=stride)
    assert windows == expected
    assert isinstance(windows[0], RowSpan)
    out = np.empty((len(windows), rows, 4), np.float16)
    stream.read_windows(windows, out)
    np.testing.assert_array_equal(out[-1][:2], stream.read("b").values)


@pytest.mark.parametrize(("rows", "stride"), [(0, None), (4, 0), (-1, 3)])
def test_windows_of_nothing_are_refused(tmp_path, rows, stride):
    with pytest.raises(ConfigError, match="both must be at least 1"):
        make_store(tmp_path / "f.zarr").stream().windows(rows, stride_rows=stride)
