import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from train.annotations.score_archive import open_score_archive, write_score_archive

ARRAYS = {
    "b": np.arange(12, dtype=np.float32).reshape(4, 3),
    "a/x": np.arange(6, dtype=np.float64).reshape(2, 3) / 7,
}


def read_all(path, shapes):
    with open_score_archive(path) as archive:
        return {name: archive.read(name, shape).copy() for name, shape in shapes.items()}


def refused(path, name="b"):
    with pytest.raises(AnnotationError) as caught:
        read_all(path, {name: ARRAYS[name].shape})
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    write_score_archive(tmp_path / "s.npz", ARRAYS.items())
    return tmp_path / "s.npz"


def columns_first(path, **arrays):
    np.savez(path, **{name: np.asfortranarray(values) for name, values in arrays.items()})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, columns_first])
def test_what_numpy_writes_is_read(tmp_path, save):
    save(tmp_path / "s.npz", **ARRAYS)
    found = read_all(tmp_path / "s.npz", {name: one.shape for name, one in ARRAYS.items()})
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype
        assert found[name].tolist() == values.tolist()


def test_scores_are_gone_when_the_next_are_read(path):
    with open_score_archive(path) as archive:
        first = archive.read("b", (4, 3))
        assert first.tolist() == ARRAYS["b"].tolist()
        archive.read("a/x", (2, 3))
        assert first.tolist() != ARRAYS["b"].tolist()
        assert archive.read("b", (4, 3)).tolist() == ARRAYS["b"].tolist()


@pytest.mark.parametrize("shape", [(4, 3), (40, 300)])
def test_a_flipped_bit_is_found(tmp_path, shape):
    path, values = tmp_path / "s.npz", np.ones(shape, np.float32)
    write_score_archive(path, [("b", values)])
    data = bytearray(path.read_bytes())
    data[data.rindex(values.tobytes()) + 4] ^= 1
    path.write_bytes(data)
    with open_score_archive(path) as archive, pytest.raises(AnnotationError, match="checksum"):
        archive.read("b", shape)


def test_a_header_that_was_altered_is_found(path):
    path.write_bytes(path.read_bytes().replace(b"(4, 3)", b"(3, 4)"))
    assert "checksum" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_named(tmp_path, value):
    values = ARRAYS["b"].copy()
    values[2, 1] = value
    write_score_archive(tmp_path / "s.npz", [("b", values)])
    assert f"holds {value} at (2, 1), expected finite numbers" in refused(tmp_path / "s.npz")


def test_large_scores_are_numbers(tmp_path):
    values = np.full((4, 3), np.finfo(np.float32).max)  # their sum is none
    write_score_archive(tmp_path / "s.npz", [("b", values)])
    assert read_all(tmp_path / "s.npz", {"b": (4, 3)})["b"].tolist() == values.tolist()
