import multiprocessing
import os
import random
import signal
import time

import pytest

from cache_schema.object_backend.cached_object import BLOCK_BYTES, CachedObject

SIZE = 2 * BLOCK_BYTES + 1000
DATA = random.Random(0).randbytes(SIZE)


def block(number):
    return DATA[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]


def test_blocks_are_read_as_they_were_put_also_by_others(tmp_path):
    ours, others = (CachedObject(tmp_path / "a", SIZE) for _ in range(2))
    assert not others.has(0)
    ours.put(2, block(2))
    ours.put(0, block(0))
    assert [others.has(number) for number in range(3)] == [True, False, True]
    assert [others.check(number) for number in range(3)] == [True, False, True]
    assert others.is_here(10, BLOCK_BYTES)
    assert others.view(10, 5000).tobytes() == DATA[10:5000]
    assert others.is_here(2 * BLOCK_BYTES, SIZE)
    assert others.view(2 * BLOCK_BYTES, SIZE).tobytes() == block(2)
    assert not others.is_here(BLOCK_BYTES - 1, BLOCK_BYTES + 1)
    assert not others.is_here(BLOCK_BYTES, BLOCK_BYTES + 1)
    assert not others.is_here(0, SIZE)


def test_neighbours_are_put_at_once(tmp_path):
    copy = CachedObject(tmp_path / "a", SIZE)
    copy.put(1, DATA[BLOCK_BYTES:])
    assert [copy.check(number) for number in range(3)] == [False, True, True]
    assert copy.view(BLOCK_BYTES, SIZE).tobytes() == DATA[BLOCK_BYTES:]


def test_bytes_are_here_once_their_blocks_were_checked(tmp_path):
    copy = CachedObject(tmp_path / "a", SIZE)
    copy.put(0, DATA)
    assert [copy.check(number) for number in (0, 1)] == [True, True]
    assert not copy.is_here(0, SIZE)
    assert copy.check(2)
    assert copy.is_here(0, SIZE)
    assert copy.bytes.tobytes() == DATA


def test_only_blocks_that_are_there_take_room(tmp_path):
    CachedObject(tmp_path / "a", 1000 * BLOCK_BYTES).put(500, block(0))
    status = (tmp_path / "a").stat()
    assert status.st_size > 1000 * BLOCK_BYTES
    assert BLOCK_BYTES <= status.st_blocks * 512 < 2 * BLOCK_BYTES


def test_a_block_of_which_only_the_mark_reached_the_disk_is_forgotten(tmp_path):
    CachedObject(tmp_path / "a", SIZE).put(0, block(0))
    with (tmp_path / "a").open("r+b") as file:  # what a power cut may leave
        file.write(bytes(4096))
    copy = CachedObject(tmp_path / "a", SIZE)
    assert copy.has(0)
    assert not copy.check(0)
    assert not copy.has(0)
    copy.put(0, block(0))
    assert copy.check(0)


def test_a_file_that_is_only_just_made_holds_nothing(tmp_path):
    (tmp_path / "a").touch()
    copy = CachedObject(tmp_path / "a", SIZE)
    assert not copy.has(0)
    copy.put(1, block(1))
    assert copy.check(1)


def test_what_was_opened_is_read_also_when_the_file_is_gone(tmp_path):
    copy = CachedObject(tmp_path / "a", SIZE)
    copy.put(0, block(0))
    assert copy.check(0)
    (tmp_path / "a").unlink()
    assert copy.view(0, 100).tobytes() == DATA[:100]


def _put_for_ever(path):
    while True:
        for number in range(3):
            CachedObject(path, SIZE).put(number, block(number))
        path.unlink()


@pytest.mark.parametrize("seed", range(10))
def test_a_writer_that_is_killed_leaves_whole_blocks_or_none(tmp_path, seed):
    # Of a killed process the page cache keeps all that it wrote, so no mark stands for nothing.
    writer = multiprocessing.get_context("fork").Process(
        target=_put_for_ever, args=(tmp_path / "a",)
    )
    writer.start()
    time.sleep(random.Random(seed).uniform(0.02, 0.1))
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    copy = CachedObject(tmp_path / "a", SIZE)
    for number in range(3):
        assert copy.check(number) == copy.has(number)
        if copy.check(number):
            assert copy.view(*copy.bounds(number)).tobytes() == block(number)
