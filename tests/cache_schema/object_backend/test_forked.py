import multiprocessing

import numpy as np
import pytest

from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket, requests
from cache_schema.object_backend.cached_objects import CachedObjects
from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.object_backend.reader import ReadAhead

SECONDS = 60
"""After which a process is taken to wait for ever."""


def said_behind_a_fork(work):
    """Return what a forked process was told; None if it was told nothing."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=tell, args=(work, theirs))
    child.start()
    said = ours.recv() if ours.poll(SECONDS) else "nothing: it waits"
    child.kill()
    child.join()
    return said


def tell(work, pipe):
    try:
        work()
    except StoreError as error:
        pipe.send(str(error))
    else:
        pipe.send(None)


@pytest.fixture
def bucket(address):
    bucket = Bucket(address)
    bucket.put("part", b"rows")
    return bucket


def read(objects):
    return objects.read_into("part", 0, np.zeros(4, np.uint8))


def test_a_client_that_was_used_says_that_it_does_not_go_on_behind_a_fork(bucket):
    assert bucket.get("part") == b"rows"
    assert "forked" in said_behind_a_fork(lambda: bucket.get("part"))


def test_a_new_client_does_not_help(bucket):
    assert "forked" in said_behind_a_fork(lambda: Bucket(bucket.address).get("part"))


def test_nor_do_the_threads_that_wait_for_answers(bucket):
    requests().submit(int).result()
    assert "forked" in said_behind_a_fork(lambda: requests().submit(int).result())


def test_what_was_on_its_way_at_a_fork_is_not_waited_for(bucket):
    objects = ReadAhead(bucket)
    objects.start("part", [(0, 4)])
    assert "forked" in said_behind_a_fork(lambda: read(objects))
    assert read(objects) == 4


def test_no_lock_that_was_held_at_a_fork_is_waited_for(bucket, tmp_path):
    objects = CachedObjects(bucket, DiskCache(tmp_path / "cache", 2**20))
    objects.start("part", [(0, 4)])
    with objects._lock, objects.cache._lock:
        assert "forked" in said_behind_a_fork(lambda: read(objects))
    assert read(objects) == 4
