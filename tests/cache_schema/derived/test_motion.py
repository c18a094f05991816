import numpy as np
import pytest

from cache_schema.derived.motion import MotionStream
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows

LENGTHS = {"a": 5, "b": 1, "c": 7}


@pytest.fixture(params=["float16", "bfloat16", "float32"])
def stream(tmp_path, request):
    with create_store(tmp_path / "f.zarr") as writer:
        tiny = writer.stream("tiny", make_recipe(store_dtype=request.param), (4,))
        for seed, (name, num_rows) in enumerate(LENGTHS.items()):
            add_video(tiny, name, make_rows(num_rows, seed=seed, dtype=request.param))
    return open_store(tmp_path / "f.zarr").stream()


def differences(stream, name):
    values = stream.read(name).float32
    return np.concatenate([np.zeros((1, 4), np.float32), values[1:] - values[:-1]])


def test_a_row_is_what_it_differs_by_from_the_row_before(stream):
    motion = MotionStream(stream)
    for name in LENGTHS:
        rows = motion.read(name)
        np.testing.assert_array_equal(rows.values, differences(stream, name))
        np.testing.assert_array_equal(rows.times_R2, stream.times(name))
    assert motion.read("c", 1.0, 2.0).values.tolist() == differences(stream, "c")[2:4].tolist()


def test_windows_begin_with_the_difference_to_the_row_before_them(stream):
    motion = MotionStream(stream)
    out = np.full((4, 4, 4), 9.0, np.float32)
    motion.read_windows([("c", 3, 4), ("a", 0, 3), ("b", 0, 1), ("c", 6, 1)], out)
    for name, first, count, got in [("c", 3, 4, 0), ("a", 0, 3, 1), ("b", 0, 1, 2), ("c", 6, 1, 3)]:
        expected = differences(stream, name)[first : first + count]
        np.testing.assert_array_equal(out[got, :count], expected)
        assert not out[got, count:].any()


def test_its_recipe_names_what_it_is_made_of(stream):
    motion = MotionStream(stream)
    assert motion.name == "tiny:motion"
    assert motion.recipe.parents == (stream.recipe,)
    assert motion.recipe.stored == (stream.recipe,)
    assert motion.stored == (stream,)
    assert motion.recipe.fingerprint != stream.recipe.fingerprint
    assert motion.numpy_dtype == np.float32
