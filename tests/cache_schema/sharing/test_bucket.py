import pytest

from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.sharing.bucket import planned_copy
from cache_schema.store import open_store
from cache_schema.testing import make_store
from tests.cache_schema.sharing.shared_stores import part_of
from tests.hub import LIBRARY_WARNS

pytestmark = LIBRARY_WARNS


def copy(source, target):
    with planned_copy(source, target) as planned:
        return planned.run(lambda num_rows: None)


def test_a_store_goes_to_a_bucket_and_back_with_its_digest(address, tmp_path):
    store = make_store(tmp_path / "s.zarr", {"a": 100, "b/c": 60})
    done = copy(store.path, address)
    assert (done.num_videos, done.num_rows, done.num_held) == (2, 160, 0)
    assert verify_store(address).problems == []
    back = copy(address, tmp_path / "t.zarr")
    assert (back.source, back.num_videos) == (str(address), 2)
    assert store_digest(open_store(tmp_path / "t.zarr")) == store_digest(store)


def test_only_what_is_missing_is_copied_and_planning_changes_nothing(address, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    with planned_copy(tmp_path / "s.zarr", address) as planned:
        assert planned.outlook.num_videos == 1
    assert Bucket(address).objects() == {}
    copy(tmp_path / "s.zarr", address)
    part_of(tmp_path / "s.zarr", "b", seed=1)
    before = Bucket(address).objects().keys()
    done = copy(tmp_path / "s.zarr", address)
    assert (done.num_videos, done.num_rows, done.num_held) == (1, 5, 1)
    assert before < Bucket(address).objects().keys()
    assert copy(tmp_path / "s.zarr", address).num_videos == 0


def test_a_store_in_a_bucket_has_a_card_whose_filled_in_words_stay(address, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    copy(tmp_path / "s.zarr", address)
    card = Bucket(address).get("README.md").decode()
    assert store_digest(open_store(tmp_path / "s.zarr")) in card
    assert f"--features {address}" in card
    Bucket(address).put("README.md", card.replace("TO FILL IN: which", "Kitchens, which").encode())
    part_of(tmp_path / "s.zarr", "b", seed=1)
    copy(tmp_path / "s.zarr", address)
    card = Bucket(address).get("README.md").decode()
    assert "Kitchens, which" in card
    assert "2 videos, 10 rows" in card
    assert verify_store(address).problems == []


def test_a_card_travels_with_its_store_from_a_bucket_and_into_another(address, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    copy(tmp_path / "s.zarr", address)
    card = Bucket(address).get("README.md").decode().replace("TO FILL IN: which", "Kitchens, which")
    Bucket(address).put("README.md", card.encode())
    copy(address, tmp_path / "t.zarr")
    assert (tmp_path / "t.zarr" / "README.md").read_text() == card
    assert verify_store(tmp_path / "t.zarr").problems == []
    copy(address, tmp_path / "t.h5")
    other = address.with_name("other.zarr")
    copy(tmp_path / "t.zarr", other)
    assert "Kitchens, which" in Bucket(other).get("README.md").decode()
    assert f"--features {other}" in Bucket(other).get("README.md").decode()


def test_other_rows_under_the_same_name_are_refused(address, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    copy(tmp_path / "s.zarr", address)
    part_of(tmp_path / "t.zarr", "a", seed=9)
    with pytest.raises(StoreError, match="holds other rows of 'a'"):
        copy(tmp_path / "t.zarr", address)


def test_what_lies_on_a_hub_goes_on_to_a_bucket(hub, address, tmp_path):
    from cache_schema.place import to_place
    from tests.cache_schema.sharing.shared_stores import ADDRESS, push

    part_of(tmp_path / "s.zarr", "a")
    push(tmp_path / "s.zarr")
    assert copy(to_place(str(ADDRESS)), address).num_videos == 1
    assert store_digest(open_store(address)) == store_digest(open_store(tmp_path / "s.zarr"))
