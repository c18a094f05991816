import pytest

from cache_schema.errors import HubError
from cache_schema.hub.snapshot import hub_snapshot
from cache_schema.proof.digest import store_digest
from cache_schema.store import open_store
from tests.cache_schema.sharing.shared_stores import ADDRESS, NAME, part_of, push
from tests.hub import LIBRARY_WARNS

pytestmark = LIBRARY_WARNS


@pytest.fixture
def source(hub, tmp_path):
    part_of(tmp_path / "source.zarr", "a", "b")
    push(tmp_path / "source.zarr")
    hub.requests.clear()
    return tmp_path / "source.zarr"


def digest(path):
    return store_digest(open_store(path))


def test_a_repository_is_downloaded_into_the_hubs_cache_once(hub, source, tmp_path):
    folder = hub_snapshot(ADDRESS)
    assert folder.is_relative_to(tmp_path / "hub-cache" / "datasets--me--feats" / "snapshots")
    assert digest(folder) == digest(source)
    hub.requests.clear()
    assert hub_snapshot(ADDRESS) == folder
    assert hub.count("GET", "/resolve/") == hub.count("GET", "/lfs/") == 0


def test_of_a_new_state_only_what_is_new_comes(hub, source):
    old = hub_snapshot(ADDRESS)
    part_of(source, "c", seed=9)
    push(source)
    hub.requests.clear()
    new = hub_snapshot(ADDRESS)
    assert digest(new) == digest(source)
    assert open_store(old).stream().video_ids == ["a", "b"], "a state stays what it was"
    assert hub.count("GET", "/lfs/") == 2, "features and times of the new part"


def test_corrupted_content_is_noticed_and_thrown_away(hub, source):
    blobs = hub.repositories["datasets", NAME].files()
    path = next(path for path in blobs if path.endswith("features/c/0/0"))
    good = hub.objects[blobs[path].digest]
    hub.objects[blobs[path].digest] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(HubError, match=rf"'{path}' came with other bytes than the hub lists"):
        hub_snapshot(ADDRESS)
    hub.objects[blobs[path].digest] = good
    assert digest(hub_snapshot(ADDRESS)) == digest(source)


def test_without_a_network_the_state_that_came_last_will_do(source, monkeypatch):
    from huggingface_hub import constants

    folder = hub_snapshot(ADDRESS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_snapshot(ADDRESS) == folder
