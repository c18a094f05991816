import errno
import json
import time
from types import SimpleNamespace

import numpy as np
import obstore
import pytest
import zarr
from zarr.storage import ObjectStore

from cache_schema import layout
from cache_schema.convert.transfer import copy_store
from cache_schema.errors import (
    ConfigError,
    RecipeMismatchError,
    SchemaVersionError,
    StoreCorruptError,
    StoreError,
)
from cache_schema.object_backend import part, reader
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.open_bucket import open_bucket
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store, store_exists
from cache_schema.testing import (
    StoreContract,
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
)
from tests.cache_schema.killing import check_kills


class TestObjectStore(StoreContract):
    @pytest.fixture
    def path(self, address):
        return address


def test_committed_videos_survive_kills(address):
    check_kills(address, kills=2)


def parts_of(address):
    return Bucket(address).folders("tiny/parts")


@pytest.mark.parametrize("store_dtype", ["float16", "bfloat16"])
def test_zarr_python_reads_a_bucket_as_it_does_a_folder(address, store_dtype):
    make_store(address, {"a": 70}, row_shape=(3, 5), store_dtype=store_dtype)
    group = zarr.open_group(ObjectStore(open_bucket(address), read_only=True), mode="r")
    (name,) = parts_of(address)
    expected = make_rows(70, (3, 5), dtype=store_dtype)
    found = np.asarray(group[f"tiny/parts/{name}/features"][:])
    np.testing.assert_array_equal(found.view(expected.dtype), expected)
    np.testing.assert_array_equal(group[f"tiny/parts/{name}/time"][:], make_times(70))


def test_a_copy_has_the_digest_of_what_it_was_copied_from(tmp_path, address):
    local = make_store(tmp_path / "s.zarr", {"a": 70, "b/c": 3, "d": 200})
    assert copy_store(local, address) == 3
    assert copy_store(local, address) == 0
    assert store_digest(open_store(address)) == store_digest(local)
    assert len(parts_of(address)) == 1  # what lies elsewhere, too, needs no part for each video
    assert copy_store(open_store(address), tmp_path / "back.zarr") == 3
    assert store_digest(open_store(tmp_path / "back.zarr")) == store_digest(local)
    assert verify_store(address).problems == verify_store(tmp_path / "back.zarr").problems == []


def test_rows_that_do_not_fit_in_memory_wait_in_a_file(address, monkeypatch):
    monkeypatch.setattr(part, "MEMORY_BYTES", 100)
    make_store(address, {"a": 500, "b": 70})
    np.testing.assert_array_equal(open_store(address).stream().read("a").values, make_rows(500))
    assert verify_store(address).problems == []


def test_no_room_for_temporary_files_is_said_of_their_folder(address, monkeypatch):
    stream = create_store(address).stream("tiny", make_recipe(), (4,))

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        part, "SpooledTemporaryFile", lambda **_: SimpleNamespace(write=full, close=lambda: None)
    )
    with pytest.raises(StoreError, match=r"^/\S+: cannot be written \(No space .* make room"):
        stream.append(make_rows(3))
    monkeypatch.undo()
    add_video(stream, "a", make_rows(3))
    assert open_store(address).stream().video_ids == ["a"]


def test_a_journal_that_is_not_kept_is_read_again(address, monkeypatch):
    monkeypatch.setattr(reader, "KEPT_BYTES", 0)
    stream = make_store(address, {"a": 5}).stream()
    assert stream.commit("a").num_rows == 5
    Bucket(address).remove([f"tiny/parts/{name}/commits.log" for name in parts_of(address)])
    with pytest.raises(StoreError, match=r"commits\.log: is gone; .* Open it again"):
        stream.commit("a")


def test_a_window_over_several_parts_is_read(address):
    stream = make_store(address, {"a": 500, "b": 700}).stream()
    out = np.empty((3, 40, 4), np.float16)
    stream.read_windows([("b", 660, 40), ("a", 3, 40), ("a", 20, 30)], out)
    rows = make_rows(700, seed=1), make_rows(500)
    np.testing.assert_array_equal(out[0], rows[0][660:])
    np.testing.assert_array_equal(out[1], rows[1][3:43])
    np.testing.assert_array_equal(out[2, :30], rows[1][20:50])


@pytest.fixture
def overtaken(address, monkeypatch):
    """Return a store writer before which another one makes a stream, at the last instant."""
    faster, slower = (create_store(address) for _ in range(2))
    in_time = Bucket.put_new

    def too_late(bucket, key, data):
        monkeypatch.setattr(Bucket, "put_new", in_time)
        faster.stream("tiny", make_recipe(), (4,))
        return in_time(bucket, key, data)

    monkeypatch.setattr(Bucket, "put_new", too_late)
    return slower


def test_of_two_streams_made_at_one_instant_under_one_name_one_is_made(address, overtaken):
    with pytest.raises(RecipeMismatchError, match=r"store_dtype"):
        overtaken.stream("tiny", make_recipe(store_dtype="bfloat16"), (4,))
    assert open_store(address).stream().recipe == make_recipe()


def test_two_writers_of_one_video_commit_it_twice_and_it_counts_once(address):
    writers = [create_store(address) for _ in range(2)]
    streams = [writer.stream("tiny", make_recipe(), (4,)) for writer in writers]
    for seed, stream in enumerate(streams):
        add_video(stream, "a", make_rows(3 + seed, seed=seed))
    found = open_store(address).stream()
    assert (found.video_ids, found.num_rows, len(found.parts)) == (["a"], 3, 2)
    assert verify_store(address).problems == []


def test_what_a_killed_writer_left_is_not_seen_and_noted(address):
    make_store(address, {"a": 5})
    Bucket(address).put("tiny/parts/0000000000000-00000000/features/c/0/0", b"rows")
    assert open_store(address).stream().video_ids == ["a"]
    report = verify_store(address)
    assert report.problems == []
    (note,) = report.notes
    assert note.what.startswith("parts without a commit: 1, such as 0000000000000-00000000")


def test_a_part_that_went_between_listing_and_reading_is_found_where_it_went(address, monkeypatch):
    make_store(address, {"a": 5})
    (old,) = parts_of(address)
    listing = Bucket.folders

    def late(bucket, prefix=""):
        found = listing(bucket, prefix)
        if old in found:  # behind the listing a compaction moves everything to a newer part
            add_video(create_store(address).stream("tiny", make_recipe(), (4,)), "a", make_rows(5))
            bucket.remove([f"tiny/parts/{old}/{name}" for name in ("commits.log", "zarr.json")])
            Bucket.folders = listing
        return found

    monkeypatch.setattr(Bucket, "folders", late)
    stream = open_store(address).stream()
    assert stream.video_ids == ["a"]
    assert [one.id for one in stream.parts] != [old]


def test_a_part_that_cannot_be_written_leaves_nothing_and_the_writer_goes_on(address, monkeypatch):
    stream = create_store(address).stream("tiny", make_recipe(), (4,))
    put = Bucket.put

    def failing(bucket, key, data):
        if key.endswith("time/c/0/0"):
            raise StoreError("no")
        put(bucket, key, data)

    monkeypatch.setattr(Bucket, "put", failing)
    with pytest.raises(StoreError, match="no"):
        add_video(stream, "a", make_rows(5))
    assert parts_of(address) == []
    monkeypatch.undo()


def test_a_commit_whose_answer_was_lost_is_a_commit(address, monkeypatch):
    stream = create_store(address).stream("tiny", make_recipe(), (4,))
    put = obstore.put

    def twice(*args, **keywords):
        if keywords.get("mode") == "create":
            put(*args, **keywords)  # the server has it, and the client tries again
        return put(*args, **keywords)

    monkeypatch.setattr(obstore, "put", twice)
    add_video(stream, "a", make_rows(5))
    monkeypatch.undo()
    assert open_store(address).stream().video_ids == ["a"]


def test_a_writer_whose_part_a_compaction_took_away_does_not_commit(address, monkeypatch):
    stream = create_store(address).stream("tiny", make_recipe(), (4,))
    put_new = Bucket.put_new

    def too_late(bucket, key, data):
        put_new(bucket, key, b"")
        return put_new(bucket, key, data)

    monkeypatch.setattr(Bucket, "put_new", too_late)
    with pytest.raises(StoreError, match=r"was taken away by a compaction.* Run the same command"):
        add_video(stream, "a", make_rows(5))
    monkeypatch.undo()
    assert open_store(address).stream().video_ids == []
    add_video(stream, "a", make_rows(5))
    assert open_store(address).stream().video_ids == ["a"]


def test_a_writer_whose_machine_slept_for_a_day_does_not_commit(address, monkeypatch):
    """What it had put may have been taken away, and the mark of that as well."""
    stream = create_store(address).stream("tiny", make_recipe(), (4,))
    put, now = Bucket.put, time.time

    def asleep(bucket, key, data):
        put(bucket, key, data)
        monkeypatch.setattr(time, "time", lambda: now() + 25 * 3600)

    monkeypatch.setattr(Bucket, "put", asleep)
    with pytest.raises(StoreError, match=r"was taken away by a compaction.* Run the same command"):
        add_video(stream, "a", make_rows(5))
    monkeypatch.undo()
    assert open_store(address).stream().video_ids == []
    assert Bucket(address).objects("tiny/parts").keys() == {"tiny/parts/zarr.json"}


def test_an_hdf5_file_is_not_written_into_a_bucket(address):
    with pytest.raises(ConfigError, match=r"an HDF5 file can only be written to a disk\. Choose"):
        create_store(address.with_name("store.H5"))


def test_other_objects_are_no_store(address):
    Bucket(address).put("photos/1.jpg", b"jpeg")
    assert not store_exists(address)
    with pytest.raises(StoreError, match="objects lie below this address and no feature store"):
        create_store(address)


def test_another_zarr_group_and_another_version_are_refused(address):
    bucket = Bucket(address)
    bucket.put("zarr.json", json.dumps({"attributes": {}}).encode())
    with pytest.raises(StoreError, match="is a Zarr group but not a video-feature-store"):
        open_store(address)
    document = {"attributes": {"kind": layout.KIND, "schema_version": 99}}
    bucket.put("zarr.json", json.dumps(document).encode())
    with pytest.raises(SchemaVersionError, match="has schema version 99, this code reads 1"):
        open_store(address)


@pytest.mark.parametrize("rows_left", [0, 1, 40])
def test_rows_an_object_has_lost_are_an_error_and_never_repeated_or_zero(address, rows_left):
    make_store(address, {"a": 50})
    (name,) = parts_of(address)
    Bucket(address).put(f"tiny/parts/{name}/features/c/0/0", b"x" * rows_left * 8)
    stream = open_store(address).stream()
    with pytest.raises(StoreCorruptError, match="ends before its committed rows do"):
        stream.read("a")
    with pytest.raises(StoreCorruptError, match="ends before its committed rows do"):
        stream.read_windows([("a", 0, 50)], np.empty((1, 64, 4), np.float16))


FILES = [
    "commits.copy",
    "features/c/0/0",
    "features/zarr.json",
    "time/c/0/0",
    "time/zarr.json",
    "zarr.json",
]


@pytest.mark.parametrize("name", FILES)
def test_verification_notices_damage_to_every_object_of_a_part(address, name):
    make_store(address, {"a": 50})
    (part_id,) = parts_of(address)
    bucket, key = Bucket(address), f"tiny/parts/{part_id}/{name}"
    whole = bucket.get(key)
    first, last = bytes([whole[0] ^ 1]), bytes([whole[-1] ^ 1])
    for data in (None, first + whole[1:], whole[:-1] + last):
        bucket.remove([key]) if data is None else bucket.put(key, data)
        problems = verify_store(address).problems
        assert problems, data
        assert {problem.part for problem in problems} == {part_id}
