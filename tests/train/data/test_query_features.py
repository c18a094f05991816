import numpy as np
import pytest

from cache_schema.errors import AnnotationError, ConfigError
from train.data.query_features import QueryFeatures


def tokens(length, width=6):
    return np.arange(length * width, dtype=np.float32).reshape(length, width) / 8


def save(folder, name, values):
    """Write a query as Moment-DETR's release has it: tokens in half precision, and a summary."""
    np.savez(
        folder / f"{name}.npz",
        last_hidden_state=values.astype(np.float16),
        pooler_output=np.zeros(values.shape[-1], np.float16),
    )


@pytest.mark.parametrize("name", ["qid{}", "{}"])
def test_each_query_is_read_from_its_file(tmp_path, name):
    save(tmp_path, name.format(12), tokens(3))
    save(tmp_path, name.format(7), tokens(5))
    features = QueryFeatures(tmp_path)
    assert features.width == 6
    np.testing.assert_array_equal(features.read("12"), tokens(3))
    assert features.read("7").shape == (5, 6)
    assert features.read("7").dtype == np.float32
    assert ("7" in features, "8" in features) == (True, False)


def test_ids_may_hold_dots(tmp_path):
    save(tmp_path, "a.b_0", tokens(2))
    assert QueryFeatures(tmp_path).read("a.b_0").shape == (2, 6)


def test_queries_without_features_are_counted_and_named(tmp_path):
    save(tmp_path, "qid1", tokens(2))
    features = QueryFeatures(tmp_path)
    features.require(["1", "1"])
    with pytest.raises(AnnotationError, match=r"nothing of 2 of 3 queries \(ids 2, 3\)\. Add"):
        features.require(["1", "2", "3", "2"])
    with pytest.raises(AnnotationError, match=r"\(ids 10, 11, 12, 13, 14, \.\.\.\)"):
        features.require(map(str, range(10, 20)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"last_hidden_state": np.zeros(6, np.float32)}, r"float32 of shape \(6,\)"),
        ({"last_hidden_state": np.zeros((0, 6), np.float32)}, r"of shape \(0, 6\)"),
        ({"last_hidden_state": np.zeros((2, 6), np.int64)}, "holds int64"),
        ({"last_hidden_state": np.full((2, 6), np.nan)}, "expected finite"),
        ({"features": np.zeros((2, 6))}, r"cannot be read: .*last_hidden_state"),
        ({"last_hidden_state": np.array([[{}]], dtype=object)}, "cannot be read: .*allow_pickle"),
    ],
)
def test_arrays_that_are_no_features_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "qid1.npz", **arrays)
    with pytest.raises(AnnotationError, match=rf"qid1\.npz: .*{message}"):
        QueryFeatures(tmp_path)


def test_a_damaged_file_and_another_width_are_named(tmp_path):
    save(tmp_path, "qid1", tokens(2))
    save(tmp_path, "qid2", tokens(2, width=5))
    (tmp_path / "qid3.npz").write_bytes(b"PK\x03\x04")
    features = QueryFeatures(tmp_path)
    with pytest.raises(AnnotationError, match=r"qid2\.npz: has width 5, the first one 6"):
        features.read("2")
    with pytest.raises(AnnotationError, match=r"qid3\.npz: cannot be read"):
        features.read("3")


def test_a_place_without_features_says_what_is_expected(tmp_path):
    for place in (tmp_path, tmp_path / "gone"):
        with pytest.raises(ConfigError, match=r"found no features of queries\. Expected a folder"):
            QueryFeatures(place)
