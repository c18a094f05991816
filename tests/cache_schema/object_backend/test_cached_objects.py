import errno
import logging
import multiprocessing
import os
import pickle
import random
import resource
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import cache_schema.testing
from cache_schema.errors import StoreError
from cache_schema.object_backend import cached_objects as module
from cache_schema.object_backend.bucket import Bucket
from cache_schema.object_backend.cached_object import BLOCK_BYTES
from cache_schema.object_backend.cached_objects import CachedObjects
from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.store import open_store
from cache_schema.testing import StoreContract, make_store
from tests.cache_schema.object_backend.folder_bucket import FolderBucket

BLOCK = BLOCK_BYTES
MIB = 2**20
SIZE = 3 * BLOCK + 1234
DATA = random.Random(0).randbytes(SIZE)
OTHER = random.Random(1).randbytes(SIZE)


@pytest.fixture
def bucket(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "part").write_bytes(DATA)
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def opened(bucket, folder, size=100 * MIB):
    return CachedObjects(bucket, DiskCache(folder, size))


def read(objects, start, end):
    out = np.zeros(end - start, np.uint8)
    return out[: objects.read_into("part", start, out)].tobytes()


def test_what_is_read_comes_in_whole_blocks_and_once(bucket, folder):
    objects = opened(bucket, folder)
    assert read(objects, BLOCK - 10, BLOCK + 10) == DATA[BLOCK - 10 : BLOCK + 10]
    assert read(objects, 5, 3 * BLOCK) == DATA[5 : 3 * BLOCK]
    assert sorted(bucket.asked) == [("part", 0, 2 * BLOCK), ("part", 2 * BLOCK, 3 * BLOCK)]


def test_what_was_started_is_on_its_way_and_not_asked_for_again(bucket, folder):
    objects = opened(bucket, folder)
    for _ in range(2):
        objects.start("part", [(100, 200), (3 * BLOCK, SIZE)])
    assert read(objects, 3 * BLOCK + 1, SIZE) == DATA[3 * BLOCK + 1 :]
    assert read(objects, 150, 160) == DATA[150:160]
    assert sorted(bucket.asked) == [("part", 0, BLOCK), ("part", 3 * BLOCK, SIZE)]


def test_a_long_range_comes_in_several_requests(bucket, folder, monkeypatch):
    monkeypatch.setattr(module, "REQUEST_BLOCKS", 2)
    objects = opened(bucket, folder)
    assert read(objects, BLOCK, SIZE) == DATA[BLOCK:]
    assert sorted(bucket.asked) == [("part", BLOCK, 3 * BLOCK), ("part", 3 * BLOCK, SIZE)]


def test_behind_the_end_there_is_nothing(bucket, folder):
    objects = opened(bucket, folder)
    objects.start("part", [(SIZE - 5, SIZE + 3 * BLOCK), (SIZE + BLOCK, SIZE + 2 * BLOCK)])
    assert read(objects, SIZE - 5, SIZE + 5) == DATA[-5:]
    assert read(objects, SIZE + BLOCK, SIZE + 2 * BLOCK) == b""


def test_another_run_finds_it_on_the_disk(bucket, folder):
    read(opened(bucket, folder), 0, SIZE)
    asked = bucket.asked
    objects = opened(bucket, folder)
    assert read(objects, 0, SIZE) == DATA
    assert bucket.asked == asked
    assert objects.cache.counts.hit_rate == 1.0


def test_the_hit_rate_is_of_the_bytes_that_were_asked_for(bucket, folder):
    read(opened(bucket, folder), 0, 1)
    objects = opened(bucket, folder)
    objects.start("part", [(BLOCK, 2 * BLOCK)])
    read(objects, BLOCK - 300, BLOCK + 100)  # 100 bytes are on their way, and so they were missed
    read(objects, BLOCK, BLOCK + 100)
    counts = objects.cache.counts
    assert (counts.read_bytes, counts.missed_bytes, counts.fetched_bytes) == (500, 100, BLOCK)
    assert counts.hit_rate == 0.8


def test_an_object_that_was_replaced_is_another_one(bucket, folder):
    read(opened(bucket, folder), 0, SIZE)
    (bucket.folder / "part").write_bytes(OTHER)
    assert read(opened(bucket, folder), 0, SIZE) == OTHER


def test_a_damaged_block_comes_again(bucket, folder):
    read(opened(bucket, folder), 0, SIZE)
    (copy,) = folder.glob("*/*/*")
    with copy.open("r+b") as file:
        file.seek(BLOCK + 10)
        file.write(b"x")
    objects = opened(bucket, folder)
    assert read(objects, 0, SIZE) == DATA
    assert bucket.asked[1:] == [("part", BLOCK, 2 * BLOCK)]
    assert read(opened(bucket, folder), 0, SIZE) == DATA


def test_a_store_larger_than_the_cache_is_read_right_and_in_part_from_the_disk(
    bucket, folder, caplog
):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            objects = opened(bucket, folder, 2 * BLOCK + BLOCK // 2)
            whole = [read(objects, at, min(at + BLOCK, SIZE)) for at in range(0, SIZE, BLOCK)]
            assert b"".join(whole) == DATA
            assert sum(one.stat().st_blocks * 512 for one in folder.rglob("*")) <= 2.5 * BLOCK
    assert objects.cache.counts.hit_rate == pytest.approx(2 * BLOCK / SIZE)
    assert ["is full" in message for message in caplog.messages] == [True] * 3  # one of each run


def test_a_full_disk_ends_the_caching_with_one_warning(bucket, folder, monkeypatch, caplog):
    objects = opened(bucket, folder)
    assert read(objects, 0, 10) == DATA[:10]
    pwrite = os.pwrite

    def half_of_it(descriptor, data, at):
        if len(data) < BLOCK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data[: BLOCK // 2], at)

    monkeypatch.setattr(os, "pwrite", half_of_it)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            objects.start("part", [(0, SIZE)])
            assert read(objects, 0, SIZE) == DATA
    assert ["No space left" in message for message in caplog.messages] == [True]
    monkeypatch.undo()
    assert read(opened(bucket, folder), 0, SIZE) == DATA


def _read_at_random(bucket, folder, seed):
    rng = random.Random(seed)
    objects = opened(bucket, folder)
    spans = [sorted(rng.randrange(SIZE) for _ in range(2)) for _ in range(50)]
    spans.append([0, SIZE])
    objects.start("part", spans[:25])
    for start, end in spans:
        assert read(objects, start, end) == DATA[start:end]


def test_processes_share_one_cache(bucket, folder):
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_read_at_random, args=(bucket, folder, seed)) for seed in (1, 2)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join()
    assert [one.exitcode for one in processes] == [0, 0]
    assert len(bucket.asked) <= 2 * 4
    asked = bucket.asked
    assert read(opened(bucket, folder), 0, SIZE) == DATA
    assert bucket.asked == asked


def test_a_copy_in_another_process_reads_for_itself(bucket, folder):
    objects = opened(bucket, folder)
    objects.start("part", [(0, BLOCK)])
    assert read(pickle.loads(pickle.dumps(objects)), 0, 10) == DATA[:10]
    child = multiprocessing.get_context("spawn").Process(target=read, args=(objects, 0, SIZE))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0


@pytest.fixture
def few_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_store_may_have_more_parts_than_a_process_begins_with_open_files(
    bucket, folder, few_files
):
    names = [f"part{number}" for number in range(300)]
    for name in names:
        (bucket.folder / name).write_bytes(name.encode())
    objects = opened(bucket, folder)
    out = np.zeros(7, np.uint8)
    for _ in range(2):
        for name in names:
            count = objects.read_into(name, 0, out)
            assert out[:count].tobytes() == name.encode()
    assert len(bucket.asked) == 300


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(address, folder):
    bucket = Bucket(address)
    bucket.put("part", DATA)
    objects = opened(bucket, folder)
    assert read(objects, 0, 10) == DATA[:10]
    bucket.put("part", OTHER)
    with pytest.raises(StoreError, match="was replaced while it was read"):
        read(objects, BLOCK, BLOCK + 10)


LEAVE_EARLY = """
import pathlib, sys, time
from cache_schema.object_backend.cached_objects import CachedObjects
from cache_schema.object_backend.disk_cache import DiskCache
from tests.cache_schema.object_backend.folder_bucket import FolderBucket

class Slow(FolderBucket):
    def get_range(self, *asked):
        time.sleep(0.3)
        return super().get_range(*asked)

bucket, folder = map(pathlib.Path, sys.argv[1:])
objects = CachedObjects(Slow(bucket), DiskCache(folder, 10**9))
objects.copy("part")
objects.start("part", [(0, 200 * 2**20)])
"""


def test_a_program_that_ends_does_not_wait_for_all_that_was_asked_for(bucket, folder):
    with (bucket.folder / "part").open("r+b") as file:
        file.truncate(200 * 2**20)
    subprocess.run([sys.executable, "-c", LEAVE_EARLY, bucket.folder, folder], check=True)
    assert len(bucket.asked) <= 2 * module.IN_FLIGHT  # of 200


def test_an_object_that_is_gone_is_an_error(address, folder):
    objects = opened(Bucket(address), folder)
    objects.start("part", [(0, 10)])
    with pytest.raises(StoreError, match="is gone; the store was compacted"):
        read(objects, 0, 10)


class TestCachedStore(StoreContract):
    @pytest.fixture
    def path(self, address, folder, monkeypatch):
        cached = partial(open_store, cache=DiskCache(folder, 100 * MIB))
        monkeypatch.setattr(cache_schema.testing, "open_store", cached)
        return address


def test_rows_are_those_of_the_store_before_and_after_all_are_here(address, folder):
    make_store(address, {"a": 3000, "b": 2000}, row_shape=(256,))  # 1.5 and 1 MiB
    expected = open_store(address).stream()
    cache = DiskCache(folder, 100 * MIB)
    stream = open_store(address, cache=cache).stream()
    windows = [("a", 2990, 10), ("b", 0, 2000), ("a", 0, 3000)]
    for _ in range(2):
        out, right = (np.ones((3, 3000, 256), np.float16) for _ in range(2))
        stream.fetch(windows)
        stream.read_windows(windows, out)
        expected.read_windows(windows, right)
        assert np.array_equal(out, right)
        rows = stream.read("b", 10.0, 20.0)
        assert np.array_equal(rows.values, expected.read("b", 10.0, 20.0).values)
        assert np.array_equal(rows.times_R2, expected.read("b", 10.0, 20.0).times_R2)
    assert cache.counts.missed_bytes < cache.counts.read_bytes
