import numpy as np
import pytest

from cache_schema.convert.transfer import copy_store
from cache_schema.errors import RecipeMismatchError, StoreCorruptError, StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_store

VIDEOS = {"a": 100, "b": 3}


@pytest.mark.parametrize("store_dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("suffixes", [(".zarr", ".h5"), (".h5", ".zarr"), (".h5", ".h5")])
def test_a_copy_has_the_same_digest_and_verifies(tmp_path, suffixes, store_dtype):
    source, target = (tmp_path / f"{i}{suffix}" for i, suffix in enumerate(suffixes))
    make_store(source, VIDEOS, row_shape=(3, 5), store_dtype=store_dtype)
    make_store(source, VIDEOS, stream="other")
    seen = []
    assert copy_store(open_store(source), target, seen.append) == 4
    assert sum(seen) == 206
    assert store_digest(open_store(target)) == store_digest(open_store(source))
    assert verify_store(target).problems == []


@pytest.mark.parametrize("suffixes", [(".zarr", ".h5"), (".h5", ".zarr")])
def test_a_copy_says_where_the_encoder_came_from_and_its_digest_does_not(tmp_path, suffixes):
    source, target = (tmp_path / f"{i}{suffix}" for i, suffix in enumerate(suffixes))
    with create_store(source) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,), encoder_source="/models/clip")
        add_video(stream, "a", make_rows(3))
    copy_store(open_store(source), target)
    assert open_store(target).stream().encoder_source == "/models/clip"
    with create_store(tmp_path / "plain.h5") as writer:
        add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(3))
    plain = store_digest(open_store(tmp_path / "plain.h5"))
    assert plain == store_digest(open_store(target)) == store_digest(open_store(source))


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_second_copy_adds_only_what_is_missing(tmp_path, suffix):
    target = tmp_path / f"t{suffix}"
    copy_store(make_store(tmp_path / "s.zarr", {"a": 100}), target)
    source = make_store(tmp_path / "more.zarr", {"a": 100, "c": 4})
    assert copy_store(source, target) == 1
    assert copy_store(source, target) == 0
    assert store_digest(open_store(target)) == store_digest(source)


def test_a_target_with_other_rows_of_a_video_is_refused(tmp_path):
    make_store(tmp_path / "t.zarr", {"z": 1, "a": 100})
    source = make_store(tmp_path / "s.zarr", {"a": 100})
    with pytest.raises(StoreError, match=r"holds other rows of 'a' \(features_crc32c"):
        copy_store(source, tmp_path / "t.zarr")


def test_a_target_of_another_recipe_is_refused(tmp_path):
    make_store(tmp_path / "t.h5", store_dtype="float32")
    with pytest.raises(RecipeMismatchError, match="store_dtype = float32, not float16"):
        copy_store(make_store(tmp_path / "s.zarr"), tmp_path / "t.h5")


def test_damaged_rows_are_not_copied(tmp_path):
    source = make_store(tmp_path / "s.h5", VIDEOS)
    data = bytearray((tmp_path / "s.h5").read_bytes())
    data[data.index(make_rows(100)[70].tobytes())] ^= 1
    (tmp_path / "s.h5").write_bytes(data)
    with pytest.raises(StoreCorruptError, match=r"rows of 'a' are not those that were committed"):
        copy_store(source, tmp_path / "t.zarr")
    assert open_store(tmp_path / "t.zarr").stream().video_ids == []


def test_copies_that_readers_do_not_see_are_left_behind(tmp_path):
    make_store(tmp_path / "s.zarr", {"a": 5})
    writer = create_store(tmp_path / "s.zarr")
    add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(9, seed=9))
    writer.close()
    copy_store(open_store(tmp_path / "s.zarr"), tmp_path / "t.zarr")
    (part,) = open_store(tmp_path / "t.zarr").stream().parts
    assert [commit.num_rows for commit in part.commits] == [5]
    np.testing.assert_array_equal(
        open_store(tmp_path / "t.zarr").stream().read("a").values, make_rows(5)
    )
