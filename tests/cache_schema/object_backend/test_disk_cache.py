import logging
import multiprocessing
import os
import pickle
import signal

import pytest

from cache_schema.object_backend import disk_cache
from cache_schema.object_backend.cached_object import BLOCK_BYTES
from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.place import to_place

OURS, OTHER, THIRD = (to_place(f"s3://bucket/{name}.zarr") for name in ("ours", "other", "third"))
SIZE = 4 * BLOCK_BYTES
"""Of an object, 1 MiB."""
DATA = bytes(range(256)) * (SIZE // 256)


def fill(cache, address, key, used=None):
    """Keep an object of one block, which was used at some time."""
    assert cache.take(SIZE)
    copies = cache.copies(address)
    copies.copy(key, "1", SIZE).put(0, DATA)
    cache.give_back(SIZE)
    if used is not None:
        os.utime(path_of(cache, address, key), (used, used))


def path_of(cache, address, key):
    copies = cache.copies(address)
    return copies.copy(key, "1", SIZE)._path


def held(cache, address, *keys):
    copies = cache.copies(address)
    return [key for key in keys if copies.copy(key, "1", SIZE).has(0)]


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    cache = DiskCache(tmp_path, 4 * SIZE + SIZE // 2)
    for key, used in (("a", 300.0), ("b", 100.0), ("c", 200.0), ("d", 400.0)):
        fill(cache, OTHER, key, used)
    fill(cache, OURS, "x")
    assert held(cache, OTHER, "a", "b", "c", "d") == ["a", "c", "d"]
    assert held(cache, OURS, "x") == ["x"]


def test_copies_in_use_stay_and_those_of_other_stores_go(tmp_path):
    cache = DiskCache(tmp_path, 3 * SIZE + SIZE // 2)
    fill(cache, OTHER, "a", 100.0)
    fill(cache, THIRD, "b", 200.0)
    in_use = cache.copies(OTHER)
    assert cache.take(SIZE)
    assert cache.take(SIZE)
    del in_use
    assert held(cache, OTHER, "a") == ["a"]
    assert held(cache, THIRD, "b") == []


def test_without_room_nothing_is_taken_and_one_warning_says_so(tmp_path, caplog):
    cache = DiskCache(tmp_path, 2 * SIZE)
    copies = cache.copies(OURS)
    fill(cache, OURS, "a")
    assert [cache.take(SIZE) for _ in range(3)] == [False, False, False]
    assert len(caplog.messages) == 1
    assert "is full (0.0021 GB, or the disk). What it does not hold is read from" in caplog.text
    assert held(cache, OURS, "a") == ["a"]
    assert not cache.is_off
    del copies


def test_a_full_cache_is_looked_at_again_after_a_minute(tmp_path, monkeypatch):
    clock = iter([0.0, 0.0, 0.0, 59.0, 61.0])
    monkeypatch.setattr(disk_cache.time, "monotonic", lambda: next(clock))
    cache = DiskCache(tmp_path, 2 * SIZE)
    fill(cache, OTHER, "a")  # 0.0
    in_use = cache.copies(OTHER)
    assert not cache.take(2 * SIZE)  # 0.0, and 0.0 when it is found full
    del in_use
    assert not cache.take(2 * SIZE)  # 59.0
    assert cache.take(2 * SIZE)  # 61.0
    assert held(cache, OTHER, "a") == []


def test_the_disk_keeps_some_room_for_others(tmp_path, monkeypatch):
    usage = disk_cache.shutil.disk_usage(tmp_path)
    for free, is_taken in ((2 * 2**30 + SIZE, True), (2 * 2**30 + SIZE - 1, False)):
        monkeypatch.setattr(
            disk_cache.shutil, "disk_usage", lambda path, free=free: usage._replace(free=free)
        )
        assert DiskCache(tmp_path, 100 * SIZE).take(SIZE) is is_taken


def test_another_object_of_the_same_name_takes_the_place_of_the_first(tmp_path):
    cache = DiskCache(tmp_path, 100 * SIZE)
    copies = cache.copies(OURS)
    copies.copy("a", "1", SIZE).put(0, DATA)
    assert not copies.copy("a", "2", SIZE).has(0)
    assert not copies.copy("a", "1", SIZE).has(0)


@pytest.mark.parametrize("address", ["s3://bucket/ours.zarr", "s3+http://other/bucket/ours.zarr"])
def test_stores_of_other_addresses_are_other_copies(tmp_path, address):
    cache = DiskCache(tmp_path, 100 * SIZE)
    fill(cache, OURS, "a")
    assert held(cache, to_place(address), "a") == (["a"] if address == str(OURS) else [])


def test_a_folder_that_cannot_be_made_turns_it_off_with_one_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    cache = DiskCache(tmp_path / "file" / "cache", 100 * SIZE)
    with caplog.at_level(logging.WARNING):
        copies = cache.copies(OURS)
        assert not cache.take(1)
        assert not copies.copy("a", "1", 1).has(0)
    assert len(caplog.messages) == 1
    assert "Not a directory" in caplog.text


def test_a_pickled_copy_counts_for_itself(tmp_path):
    cache = DiskCache(tmp_path, 100 * SIZE)
    cache.counts.read_bytes = 10
    again = pickle.loads(pickle.dumps(cache))
    assert (again.folder, again.size_bytes, again.counts.read_bytes) == (tmp_path, 100 * SIZE, 0)
    assert again.counts.hit_rate is None


def _use_for_ever(folder, pipe):
    copies = DiskCache(folder, 4 * SIZE).copies(OTHER)
    pipe.send(copies.cache.is_off)
    signal.pause()


def test_a_reader_keeps_its_copies_until_it_ends_however_it_does(tmp_path):
    cache = DiskCache(tmp_path, 2 * SIZE)
    fill(cache, OTHER, "a")
    ours, theirs = multiprocessing.Pipe()
    reader = multiprocessing.get_context("spawn").Process(
        target=_use_for_ever, args=(tmp_path, theirs)
    )
    reader.start()
    assert ours.poll(60)
    assert not DiskCache(tmp_path, 2 * SIZE).take(2 * SIZE)
    assert held(cache, OTHER, "a") == ["a"]
    os.kill(reader.pid, signal.SIGKILL)
    reader.join()
    assert DiskCache(tmp_path, 2 * SIZE).take(2 * SIZE)
    assert held(cache, OTHER, "a") == []


def test_a_process_that_was_forked_while_room_was_made_does_not_keep_the_lock(tmp_path):
    with disk_cache._locked(tmp_path / disk_cache.LOCK):
        child = multiprocessing.get_context("fork").Process(target=signal.pause)
        child.start()
    taken = multiprocessing.get_context("spawn").Process(target=_take, args=(tmp_path,))
    taken.start()
    taken.join(timeout=60)
    child.kill()
    child.join()
    assert taken.exitcode == 0


def _take(folder):
    assert DiskCache(folder, 4 * SIZE).take(SIZE)
