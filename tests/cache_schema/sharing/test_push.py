import hashlib
import os
import re
import signal
from pathlib import Path

import pytest

from cache_schema.errors import ConfigError, HubError, RecipeMismatchError, StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.sharing import push as push_module
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_store
from tests.cache_schema.sharing.shared_stores import ADDRESS, NAME, checkout, child, part_of, push
from tests.hub import LIBRARY_WARNS, TOKEN

pytestmark = LIBRARY_WARNS

PART = re.compile(r"tiny/parts/(\d{13}-[0-9a-f]{8})/commits\.log")


def parts_on(hub):
    paths = hub.repositories["datasets", NAME].files()
    return {match[1] for match in map(PART.fullmatch, paths) if match}


def test_a_store_lies_on_the_hub_as_it_is_and_verifies_there(hub, tmp_path):
    store = make_store(tmp_path / "s.zarr", {"a": 100, "b/c": 60})
    make_store(tmp_path / "s.zarr", {"a": 7}, stream="other", row_shape=(2, 3))
    done = push(tmp_path / "s.zarr")
    assert (done.num_videos, done.num_rows, done.num_held, done.is_new) == (3, 167, 0, True)
    there = checkout(hub, tmp_path / "there.zarr")
    assert verify_store(there).problems == []
    assert store_digest(open_store(there)) == store_digest(open_store(store.path))
    for path in there.rglob("*"):
        if path.is_file() and path.name not in ("README.md", "index.json"):
            assert path.read_bytes() == (store.path / path.relative_to(there)).read_bytes()
    assert hub.repositories["datasets", NAME].is_private, "nobody has said yet what may be done"
    assert not any(TOKEN.encode() in data for data in hub.objects.values())


def test_a_second_push_sends_only_what_is_missing(hub, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    push(tmp_path / "s.zarr")
    hub.requests.clear()
    again = push(tmp_path / "s.zarr")
    assert (again.num_videos, again.num_held, again.commit) == (0, 1, None)
    assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}
    part_of(tmp_path / "s.zarr", "b", seed=1)
    more = push(tmp_path / "s.zarr")
    assert (more.num_videos, more.num_held) == (1, 1)
    assert hub.count("PUT", "/lfs/") == 1, "features; its times are those of the first part"


def test_a_public_repository_is_read_where_it_lies_by_its_web_address(hub, tmp_path):
    part_of(tmp_path / "s.zarr", "a", "b")
    part_of(tmp_path / "s.zarr", "c", seed=5)
    push(tmp_path / "s.zarr")
    hub.repositories["datasets", NAME].is_private = False
    there = open_store(f"{hub.url}/datasets/{NAME}/resolve/main")
    assert store_digest(there) == store_digest(open_store(tmp_path / "s.zarr"))


def test_a_store_that_was_compacted_brings_nothing_twice(hub, tmp_path):
    from cache_schema.convert.compact import compact_store

    part_of(tmp_path / "s.zarr", "a")
    part_of(tmp_path / "s.zarr", "b", seed=1)
    push(tmp_path / "s.zarr")
    before = parts_on(hub)
    compact_store(tmp_path / "s.zarr")
    assert len(open_store(tmp_path / "s.zarr").stream().parts) == 1
    assert push(tmp_path / "s.zarr").num_videos == 0
    assert parts_on(hub) == before


def test_committed_videos_of_a_living_writer_go_sealed_and_later_only_the_rest(hub, tmp_path):
    path = tmp_path / "s.zarr"
    with create_store(path) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        add_video(stream, "a", make_rows(5))
        stream.append(make_rows(3, seed=8))  # of a video that is not committed
        assert push(path).num_videos == 1
        there = open_store(checkout(hub, tmp_path / "first.zarr"))
        assert there.stream().video_ids == ["a"]
        assert verify_store(there.path).problems == []
        stream.abandon()
        add_video(stream, "b", make_rows(5, seed=1))
    assert (push(path).num_videos, len(parts_on(hub))) == (1, 2)
    there = checkout(hub, tmp_path / "second.zarr")
    assert (verify_store(there).problems, verify_store(there).notes) == ([], [])
    assert store_digest(open_store(there)) == store_digest(open_store(path))


def test_what_two_living_writers_committed_twice_goes_once(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(push_module, "COMMIT_FILES", 1)  # one for each part
    path = tmp_path / "s.zarr"
    with create_store(path) as one, create_store(path) as two:
        first, second = (writer.stream("tiny", make_recipe(), (4,)) for writer in (one, two))
        add_video(first, "a", make_rows(5))
        add_video(second, "a", make_rows(5))
        add_video(second, "b", make_rows(5, seed=1))
        assert push(path).num_videos == 2
    there = checkout(hub, tmp_path / "there.zarr")
    assert verify_store(there).problems == verify_store(there).notes == []
    assert store_digest(open_store(there)) == store_digest(open_store(path))
    assert len(verify_store(path).notes) == 1, "the copy is here"
    part_of(tmp_path / "t.zarr", "c", seed=2)
    part_of(tmp_path / "t.zarr", "c", "d", seed=2)
    assert push(tmp_path / "t.zarr").num_videos == 2
    assert verify_store(checkout(hub, tmp_path / "again.zarr")).notes == []


def test_two_machines_fill_one_repository(hub, tmp_path):
    part_of(tmp_path / "one.zarr", "a", "b")
    part_of(tmp_path / "two.zarr", "b", "c", seed=1)
    push(tmp_path / "one.zarr")
    done = push(tmp_path / "two.zarr")
    assert (done.num_videos, done.num_held) == (1, 1)
    there = checkout(hub, tmp_path / "there.zarr")
    assert open_store(there).stream().video_ids == ["a", "b", "c"]
    assert verify_store(there).notes == [], "no video twice"


def test_other_rows_or_another_recipe_under_the_same_name_are_refused(hub, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    push(tmp_path / "s.zarr")
    part_of(tmp_path / "t.zarr", "a", seed=9)
    with pytest.raises(StoreError, match="holds other rows of 'a'"):
        push(tmp_path / "t.zarr")
    make_store(tmp_path / "u.zarr", {"z": 3}, store_dtype="float32")
    with pytest.raises(RecipeMismatchError, match="hf://datasets/me/feats: stream 'tiny'"):
        push(tmp_path / "u.zarr")


def test_damaged_rows_are_not_pushed(hub, tmp_path):
    store = make_store(tmp_path / "s.zarr", {"a": 100})
    (shard,) = store.path.glob("tiny/parts/*/features/c/0/0")
    data = bytearray(shard.read_bytes())
    data[3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match="rows of 'a' are not those that were committed"):
        push(store.path)
    assert parts_on(hub) == set()


def test_an_hdf5_store_says_what_to_do(hub, tmp_path):
    make_store(tmp_path / "s.h5")
    with pytest.raises(ConfigError, match=r"vllm-store export .*s\.h5 NAME\.zarr"):
        push(tmp_path / "s.h5")


def test_one_500_is_gone_over_and_a_hub_that_is_down_is_one_sentence(hub, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    left = [1]
    hub.fault = lambda method, path: 500 if method == "PUT" and left and left.pop() else None
    push(tmp_path / "s.zarr")
    assert left == []
    part_of(tmp_path / "s.zarr", "b", seed=1)
    hub.fault = lambda method, path: 503 if method == "PUT" else None
    with pytest.raises(HubError, match=r"^hf://\S+: the hub answered 503 .* run the same command"):
        push(tmp_path / "s.zarr")
    hub.fault = lambda method, path: None
    assert push(tmp_path / "s.zarr").num_videos == 1


@pytest.mark.parametrize(
    ("token", "said"),
    [(None, "wants to know who you are: log in .* or set HF_TOKEN"), ("hf_other", "wants to know")],
)
def test_without_a_token_there_is_one_sentence(hub, tmp_path, monkeypatch, token, said):
    part_of(tmp_path / "s.zarr", "a")
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=said) as raised:
        push(tmp_path / "s.zarr")
    assert "\n" not in str(raised.value)


def test_a_token_that_may_only_read_is_told(hub, tmp_path):
    part_of(tmp_path / "s.zarr", "a")
    hub.fault = lambda method, path: 403 if "preupload" in path else None
    with pytest.raises(HubError, match=r"the token may not do that here \(made by a test\)"):
        push(tmp_path / "s.zarr")


CHILD = """
import sys
from pathlib import Path
from cache_schema.sharing import push
from cache_schema.place import to_place
from cache_schema.hub.address import hub_address
push.COMMIT_FILES = 14  # two parts
with push.planned_push(Path(sys.argv[1]), hub_address(to_place(sys.argv[2]), "dataset")) as planned:
    planned.run(lambda num_rows: None)
"""


@pytest.mark.parametrize("at", [2, 6, 11, 16, 21, 26])
def test_killed_at_any_request_the_hub_holds_whole_videos_and_the_next_push_goes_on(
    hub, tmp_path, at, monkeypatch
):
    path = tmp_path / "s.zarr"
    for number in range(5):
        part_of(path, f"v{number}", f"w{number}", seed=10 * number)
    process = child(CHILD, hub, str(path), str(ADDRESS))

    def kill(method, place):
        if len(hub.requests) == at:
            os.kill(process.pid, signal.SIGKILL)

    hub.fault = kill
    assert process.wait(60) == -signal.SIGKILL, "it was done before"
    hub.fault = lambda method, place: None
    sent = [place for method, place in hub.requests if method == "PUT"]
    if ("datasets", NAME) in hub.repositories:
        there = checkout(hub, tmp_path / "there.zarr")
        if parts_on(hub):
            assert verify_store(there).problems == []
            sealed = set(open_store(there).stream().video_ids)
            assert sealed <= set(open_store(path).stream().video_ids)
    arrived = {place for place in sent if Path(place).name in hub.objects}
    hub.requests.clear()
    monkeypatch.setattr(push_module, "COMMIT_FILES", 14)
    push(path)
    again = {place for method, place in hub.requests if method == "PUT"}
    assert not again & arrived, "what had arrived was sent again"
    there = checkout(hub, tmp_path / "whole.zarr")
    assert store_digest(open_store(there)) == store_digest(open_store(path))
    assert verify_store(there).problems == []


def test_by_xet_too_what_is_there_has_the_digests_of_what_lies_here(hub, tmp_path):
    path = tmp_path / "s.zarr"
    for number in range(3):
        part_of(path, f"v{number}", seed=number)
    words = (CHILD, hub, str(path), str(ADDRESS))
    xet = {"HF_HUB_DISABLE_XET": "0", "HF_HOME": str(tmp_path / "hf")}
    assert child(*words, **xet).wait(60) == 0
    assert hub.count("PUT", "/lfs/") == 0
    assert hub.count("POST", "/xorbs/") > 0
    blobs = hub.repositories["datasets", NAME].files()
    large = [one for one in blobs if "/c/" in one]
    assert len(large) == 6
    for one in large:
        assert blobs[one].digest == hashlib.sha256((path / one).read_bytes()).hexdigest()
    hub.requests.clear()
    assert child(*words, **xet).wait(60) == 0
    assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}, "all of it was there"
