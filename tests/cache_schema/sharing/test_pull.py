import os
import signal

import pytest

from cache_schema.errors import ConfigError, HubError, StoreError, StoreNotFoundError
from cache_schema.hub.address import HubAddress
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.sharing.pull import planned_pull
from cache_schema.store import open_store
from cache_schema.testing import make_store
from tests.cache_schema.sharing.shared_stores import ADDRESS, NAME, child, part_of, push
from tests.hub import LIBRARY_WARNS

pytestmark = LIBRARY_WARNS


def pull(target, address=ADDRESS):
    with planned_pull(address, target) as planned:
        return planned.run(lambda num_rows: None)


@pytest.fixture
def source(hub, tmp_path):
    """A store of three parts that lies on the hub."""
    path = tmp_path / "source.zarr"
    for number in range(3):
        part_of(path, f"v{number}", f"w{number}", seed=10 * number)
    push(path)
    hub.requests.clear()
    return path


def test_what_was_pushed_is_pulled_bit_for_bit(source, tmp_path):
    done = pull(tmp_path / "t.zarr")
    assert (done.num_videos, done.num_rows, done.num_held) == (6, 30, 0)
    assert verify_store(tmp_path / "t.zarr").problems == []
    assert store_digest(open_store(tmp_path / "t.zarr")) == store_digest(open_store(source))
    assert "TO FILL IN" in (tmp_path / "t.zarr" / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.glob("t.zarr*")) == ["t.zarr"]


def test_a_second_pull_fetches_only_what_is_missing(hub, source, tmp_path):
    pull(tmp_path / "t.zarr")
    hub.requests.clear()
    assert pull(tmp_path / "t.zarr").num_videos == 0
    assert hub.count("GET", "/lfs/") == 0
    part_of(source, "new", seed=99)
    push(source)
    hub.requests.clear()
    assert pull(tmp_path / "t.zarr").num_videos == 1
    assert hub.count("GET", "/lfs/") == 2


def test_an_older_state_can_be_pulled(hub, source, tmp_path):
    sha = hub.repositories["datasets", NAME].sha("main")
    part_of(source, "new", seed=99)
    push(source)
    pull(tmp_path / "t.zarr", HubAddress(kind="dataset", name=NAME, revision=sha))
    assert "new" not in open_store(tmp_path / "t.zarr").stream()
    assert len(open_store(tmp_path / "t.zarr").stream().video_ids) == 6


def test_corrupted_content_is_noticed_and_never_becomes_visible(hub, source, tmp_path):
    blobs = hub.repositories["datasets", NAME].files()
    path = sorted(path for path in blobs if path.endswith("features/c/0/0"))[1]
    good = hub.objects[blobs[path].digest]
    hub.objects[blobs[path].digest] = bytes([good[0] ^ 1]) + good[1:]
    with pytest.raises(HubError, match=f"'{path}' came with other bytes than the hub lists"):
        pull(tmp_path / "t.zarr")
    assert verify_store(tmp_path / "t.zarr").problems == []
    assert path.split("/")[2] not in {
        one.id for one in open_store(tmp_path / "t.zarr").stream().parts
    }
    hub.objects[blobs[path].digest] = good
    pull(tmp_path / "t.zarr")
    assert store_digest(open_store(tmp_path / "t.zarr")) == store_digest(open_store(source))


def test_a_part_that_was_pushed_damaged_is_named(hub, source, tmp_path):
    blobs = hub.repositories["datasets", NAME].files()
    path = next(path for path in blobs if path.endswith("features/zarr.json"))
    hub.put("datasets", NAME, path, b"{}")
    with pytest.raises(StoreError, match=rf"the part {path.split('/')[2]} is damaged there"):
        pull(tmp_path / "t.zarr")


def test_other_rows_under_the_same_name_are_refused(source, tmp_path):
    part_of(tmp_path / "t.zarr", "v0", seed=5)
    with pytest.raises(StoreError, match="holds other rows of 'v0'"):
        pull(tmp_path / "t.zarr")


def test_what_is_no_store_and_what_cannot_take_one_are_told(hub, source, tmp_path):
    hub.repositories["datasets", "me/empty"] = type(hub.repositories["datasets", NAME])(False)
    with pytest.raises(StoreNotFoundError, match="hf://datasets/me/empty: holds no feature store"):
        pull(tmp_path / "t.zarr", HubAddress(kind="dataset", name="me/empty"))
    with pytest.raises(ConfigError, match=r"vllm-store export NAME\.zarr .*t\.h5"):
        pull(tmp_path / "t.h5")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            HubAddress(kind="dataset", name="me/none"),
            "there is no such repository, or it is private",
        ),
        (HubAddress(kind="dataset", name=NAME, revision="v9"), "has no such revision"),
    ],
)
def test_what_is_not_there_is_one_sentence(source, tmp_path, address, said):
    with pytest.raises(HubError, match=said) as raised:
        pull(tmp_path / "t.zarr", address)
    assert "\n" not in str(raised.value)


def test_a_private_repository_wants_a_token(source, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"no token that opens it was found; .* set HF_TOKEN"):
        pull(tmp_path / "t.zarr")


def test_a_hub_that_is_not_there_or_not_to_be_asked_is_one_sentence(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        pull(tmp_path / "t.zarr")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="the hub cannot be reached") as raised:
        pull(tmp_path / "t.zarr")
    assert "\n" not in str(raised.value)


def test_a_cut_connection_is_gone_over(hub, source, tmp_path):
    left = [0, -1, 0, -1]
    hub.fault = lambda method, path: left.pop() if left and "/lfs/" in path else None
    pull(tmp_path / "t.zarr")
    assert left == []
    assert store_digest(open_store(tmp_path / "t.zarr")) == store_digest(open_store(source))


CHILD = """
import sys
from pathlib import Path
from cache_schema.place import to_place
from cache_schema.hub.address import hub_address
from cache_schema.sharing.pull import planned_pull
with planned_pull(hub_address(to_place(sys.argv[1]), "dataset"), Path(sys.argv[2])) as planned:
    planned.run(lambda num_rows: None)
"""


@pytest.mark.parametrize("at", [3, 20, 33, 47, 60])
def test_killed_at_any_request_the_store_holds_whole_videos_and_the_next_pull_goes_on(
    hub, source, tmp_path, at
):
    process = child(CHILD, hub, str(ADDRESS), str(tmp_path / "t.zarr"))

    def kill(method, place):
        if len(hub.requests) == at:
            os.kill(process.pid, signal.SIGKILL)

    hub.fault = kill
    assert process.wait(60) == -signal.SIGKILL, "it was done before"
    hub.fault = lambda method, place: None
    if (tmp_path / "t.zarr").exists():
        assert verify_store(tmp_path / "t.zarr").problems == []
    pull(tmp_path / "t.zarr")
    assert verify_store(tmp_path / "t.zarr").problems == []
    assert store_digest(open_store(tmp_path / "t.zarr")) == store_digest(open_store(source))
    assert [path.name for path in tmp_path.glob("t.zarr*")] == ["t.zarr"]


def test_a_store_with_videos_of_its_own_keeps_them(source, tmp_path):
    make_store(tmp_path / "t.zarr", {"own": 5})
    pull(tmp_path / "t.zarr")
    assert open_store(tmp_path / "t.zarr").stream().video_ids == [
        *("own", "v0", "v1", "v2", "w0", "w1", "w2")
    ]
    assert verify_store(tmp_path / "t.zarr").problems == []
