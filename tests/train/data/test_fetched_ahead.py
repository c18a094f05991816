from fractions import Fraction

import numpy as np
import pytest

from cache_schema.derived.join import JoinedStream
from cache_schema.derived.motion import MotionStream
from cache_schema.store import create_store, open_store
from cache_schema.testing import add_video, make_recipe, make_rows, make_store
from train.data import fetched_ahead as module
from train.data.fetched_ahead import fetched_ahead


class Far:
    """A stream elsewhere, of rows of 10 bytes; notes what it is asked for."""

    is_far = True
    row_bytes = 10

    def __init__(self):
        self.asked = []

    def fetch(self, windows):
        self.asked += windows


BATCHES = [[("a", first, 2), ("b", first, 1)] for first in range(5)]  # 30 bytes each


@pytest.mark.parametrize(("limit", "ahead"), [(29, 1), (30, 2), (60, 3), (1000, 5)])
def test_so_many_bytes_are_asked_for_before_they_are_read(monkeypatch, limit, ahead):
    monkeypatch.setattr(module, "AHEAD_BYTES", limit)
    stream = Far()
    read = fetched_ahead(stream, BATCHES, list)
    for number, batch in enumerate(read):
        assert batch == BATCHES[number]
        assert stream.asked == [one for batch in BATCHES[: number + ahead] for one in batch]
    assert number == 4


def test_rows_on_this_machine_are_read_as_they_come(tmp_path):
    stream = make_store(tmp_path / "f.zarr").stream()
    batches = iter(BATCHES)
    read = fetched_ahead(stream, batches, list)
    assert next(read) == BATCHES[0]
    assert next(batches) == BATCHES[1]


def test_of_streams_that_are_made_what_they_are_made_of_is_asked_for(address, monkeypatch):
    with create_store(address) as writer:
        for name, fps in (("slow", 1), ("fast", 2)):
            tiny = writer.stream(name, make_recipe(encoder_id=name, fps=Fraction(fps)), (4,))
            add_video(tiny, "v", make_rows(6 * fps))
    store = open_store(address)
    slow, fast = store.stream("slow"), store.stream("fast")
    asked = []
    for stream in (slow, fast):
        rows = stream.parts[0].rows
        monkeypatch.setattr(
            rows, "fetch", lambda spans, name=stream.name: asked.append((name, spans))
        )
    joined = JoinedStream([slow, MotionStream(fast)])
    assert joined.is_far
    joined.fetch([("v", 2, 2)])
    needed = dict(asked)
    asked.clear()
    joined.read_windows([("v", 2, 2)], np.empty((1, 2, 8), np.float32))
    assert needed == dict(asked)
    assert needed["slow"] == [(2, 2)]
