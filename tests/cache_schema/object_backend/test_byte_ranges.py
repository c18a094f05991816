import pickle
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from cache_schema.object_backend import byte_ranges
from cache_schema.object_backend.byte_ranges import ReadAhead, joined_spans

KIB = 2**10


def read(ahead, key, start, end):
    out = np.zeros(end - start, np.uint8)
    return out[: ahead.read_into(key, start, out)].tobytes()


DATA = bytes(range(256)) * 4


class Memory:
    """Ranges of one object, all here at once; notes what was asked for."""

    def __init__(self):
        self.asked = []

    def fetch(self, key, spans):
        self.asked += [(key, *span) for span in spans]
        futures = []
        for start, end in spans:
            future = Future()
            future.set_result(DATA[start:end])
            futures.append(future)
        return futures


def test_near_ranges_are_one_and_far_ones_are_two():
    spans = [(0, 10), (10 + 64 * KIB, 200 * KIB), (300 * KIB, 301 * KIB)]
    assert list(joined_spans(spans)) == [(0, 200 * KIB), (300 * KIB, 301 * KIB)]


def test_a_long_range_comes_in_pieces(monkeypatch):
    monkeypatch.setattr(byte_ranges, "RANGE_BYTES", 100)
    assert list(joined_spans([(50, 300), (60, 80)])) == [(50, 150), (150, 250), (250, 300)]


def test_what_was_started_is_not_asked_for_again():
    memory = Memory()
    ahead = ReadAhead(memory)
    ahead.start("a", [(0, 100), (200, 300)])
    ahead.start("a", [(0, 100), (200, 300)])
    assert read(ahead, "a", 210, 290) == DATA[210:290]
    assert read(ahead, "a", 0, 100) == DATA[:100]
    assert memory.asked == [("a", 0, 300)]


def test_two_threads_ask_for_a_range_once():
    class Slow(Memory):
        def fetch(self, key, spans):
            time.sleep(0.05)
            return super().fetch(key, spans)

    memory = Slow()
    ahead = ReadAhead(memory)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda _: ahead.start("a", [(0, 100)]), range(2)))
    assert memory.asked == [("a", 0, 100)]


def test_a_range_that_was_started_in_part_is_whole(monkeypatch):
    monkeypatch.setattr(byte_ranges, "RANGE_BYTES", 60)
    memory = Memory()
    ahead = ReadAhead(memory)
    ahead.start("a", [(0, 100)])
    assert read(ahead, "a", 30, 200) == DATA[30:200]
    assert memory.asked == [("a", 0, 60), ("a", 60, 100), ("a", 100, 160), ("a", 160, 200)]


def test_other_objects_are_other_ranges():
    memory = Memory()
    ahead = ReadAhead(memory)
    ahead.start("a", [(0, 100)])
    read(ahead, "b", 0, 100)
    assert memory.asked == [("a", 0, 100), ("b", 0, 100)]


def test_an_object_that_ends_early_gives_what_there_is():
    ahead = ReadAhead(Memory())
    ahead.start("a", [(1000, 1100)])
    assert read(ahead, "a", 1000, 1100) == DATA[1000:]
    assert read(ahead, "a", 2000, 2100) == b""


@pytest.mark.parametrize("limit", [0, 99, 100])
def test_what_waits_has_a_limit_and_the_oldest_goes(monkeypatch, limit):
    monkeypatch.setattr(byte_ranges, "AHEAD_BYTES", limit)
    memory = Memory()
    ahead = ReadAhead(memory)
    ahead.start("a", [(0, 50)])
    ahead.start("b", [(0, 50)])
    assert read(ahead, "a", 0, 50) == read(ahead, "b", 0, 50) == DATA[:50]
    again = {0: ["a", "b"], 99: ["a"], 100: []}[limit]
    assert [key for key, _, _ in memory.asked] == ["a", "b", *again]


def test_a_copy_in_another_process_asks_for_itself():
    ahead = ReadAhead(Memory())
    ahead.start("a", [(0, 50)])
    assert read(pickle.loads(pickle.dumps(ahead)), "a", 10, 20) == DATA[10:20]
