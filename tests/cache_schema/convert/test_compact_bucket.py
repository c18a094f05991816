import time

import numpy as np
import pytest

from cache_schema import layout
from cache_schema.convert import compact_bucket
from cache_schema.convert.compact import compact_store
from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.place import to_place
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows
from tests.faulty_server import faulty_server

LEFT = "tiny/parts/0000000000000-00000000"


def write_parts(address, videos):
    with create_store(address) as writer:
        stream = writer.stream("tiny", make_recipe(), (4,))
        for seed, video_id in enumerate(videos):
            add_video(stream, video_id, make_rows(10, seed=seed))


def parts_of(address):
    return [part.commits.ids for part in open_store(address).stream().parts]


def test_small_parts_become_one_and_readers_see_the_same(address):
    write_parts(address, "abcdb")
    before, expected = open_store(address), store_digest(open_store(address))
    (done,) = compact_store(address)
    assert (done.parts_before, done.parts_after, done.videos_moved) == (5, 1, 4)
    assert parts_of(address) == [["a", "b", "c", "d"]]
    assert store_digest(open_store(address)) == expected
    report = verify_store(address)
    assert (report.problems, report.notes) == ([], [])
    assert len(Bucket(address).folders("tiny/parts")) == 1
    with pytest.raises(StoreError, match=r"is gone; .* Open it again"):
        before.stream().read("a")


def test_a_second_compaction_has_nothing_to_do(address):
    write_parts(address, "ab")
    compact_store(address)
    parts = Bucket(address).folders("tiny/parts")
    (done,) = compact_store(address)
    assert (done.videos_moved, Bucket(address).folders("tiny/parts")) == (0, parts)


def test_big_parts_stay_where_they_are(address, monkeypatch):
    monkeypatch.setattr(layout, "PART_BYTES", 15 * 8)
    write_parts(address, "ab")
    (done,) = compact_store(address)
    assert (done.videos_moved, parts_of(address)) == (0, [["a"], ["b"]])


# Copying the first and the last video; taking away the last part, the one before it, all bytes.
@pytest.mark.parametrize("instant", [0, 2, 3, 4, 7])
def test_a_compaction_that_dies_at_any_step_changes_nothing(address, monkeypatch, instant):
    write_parts(address, "abca")
    expected = store_digest(open_store(address))
    steps = iter(range(99))

    def dying(function):
        def step(*args, **keywords):
            if next(steps) == instant:
                raise KeyboardInterrupt
            return function(*args, **keywords)

        return step

    monkeypatch.setattr(compact_bucket, "copy_video", dying(compact_bucket.copy_video))
    monkeypatch.setattr(Bucket, "remove", dying(Bucket.remove))
    with pytest.raises(KeyboardInterrupt):
        compact_store(address)
    assert store_digest(open_store(address)) == expected
    monkeypatch.undo()
    compact_store(address, quiet_seconds=0)
    assert store_digest(open_store(address)) == expected
    assert parts_of(address) == [["a", "b", "c"]]
    assert verify_store(address).problems == []


def test_what_a_killed_writer_left_goes_once_it_is_old_enough(address):
    write_parts(address, "a")
    bucket = Bucket(address)
    bucket.put(f"{LEFT}/features/c/0/0", b"rows")
    (done,) = compact_store(address)
    (reason,) = done.left_alone.values()
    assert reason.startswith("has no commit yet")
    compact_store(address, quiet_seconds=0)
    assert list(bucket.objects(LEFT)) == [f"{LEFT}/commits.log"]
    assert parts_of(address) == [["a"]]
    assert verify_store(address).notes == []


def test_the_mark_of_what_was_taken_away_goes_when_no_writer_can_still_commit(address, monkeypatch):
    write_parts(address, "a")
    bucket = Bucket(address)
    bucket.put(f"{LEFT}/commits.log", b"")
    bucket.put(f"{LEFT}/zarr.json", b"{}")
    compact_store(address)
    assert list(bucket.objects(LEFT)) == [f"{LEFT}/commits.log"]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * 24 * 3600)
    compact_store(address)
    assert bucket.objects(LEFT) == {}


def test_a_part_that_is_committed_while_a_compaction_looks_stays(address):
    write_parts(address, "a")
    store = open_store(address)
    write_parts(address, "b")
    compact_bucket.compact_bucket(address, store, quiet_seconds=0, progress=lambda rows: None)
    assert parts_of(address) == [["a"], ["b"]]
    np.testing.assert_array_equal(open_store(address).stream().read("b").values, make_rows(10))


def test_objects_of_all_parts_are_listed_once_and_removed_by_few_requests(address, moto):
    write_parts(address, "abcdefgh")
    asked = []
    with faulty_server(moto) as server:
        server.choose = lambda method, path: asked.append(f"{method} {path}")
        compact_store(to_place(str(address).replace(moto, server.endpoint)))
    removals = [one for one in asked if one.startswith(("DELETE", "POST"))]
    assert len(removals) == 8 + 1  # what commits a part is taken away by itself, in order
    assert len([one for one in asked if "list-type" in one and "delimiter" not in one]) < 5
    assert len(Bucket(address).folders("tiny/parts")) == 1
