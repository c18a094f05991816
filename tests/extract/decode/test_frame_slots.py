import gc
import os
import resource
import sys

import numpy as np
import pytest

from extract.decode import frame_slots
from extract.decode.frame_slots import FrameSlots, new_slots

SHAPE = (4, 6, 3)


@pytest.fixture
def ends():
    """Return the decoding process's end and its parent's."""
    with os.fdopen(new_slots(), "rb") as memory:
        yield FrameSlots(memory.fileno()), FrameSlots(memory.fileno())


def frame(value, shape=SHAPE):
    return np.full(shape, value, np.uint8)


def test_a_frame_arrives_as_it_was_put(ends):
    child, parent = ends
    rgb = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    np.testing.assert_array_equal(parent.take(child.put(rgb), SHAPE), rgb)


def test_a_frame_whose_lines_are_padded_arrives(ends):
    child, parent = ends
    rgb = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)[:, :6]
    np.testing.assert_array_equal(parent.take(child.put(rgb), rgb.shape), rgb)


def test_a_frame_in_new_memory_stays_there_and_may_be_filled_later(ends):
    child, parent = ends
    first = parent.take(child.put(frame(1)), SHAPE)
    pixels = child.new(SHAPE)
    del first
    parent.release()  # a slot before it is free by now
    slot = child.put(pixels)
    pixels[...] = frame(2)
    assert slot == 1
    np.testing.assert_array_equal(parent.take(slot, SHAPE), frame(2))


def test_a_slot_is_free_once_no_view_of_its_frame_is_left(ends):
    child, parent = ends
    whole = parent.take(child.put(frame(1)), SHAPE)
    view = whole[1:, ::2][..., 0]
    del whole
    gc.collect()
    parent.release()
    assert child.put(frame(2)) == 1
    assert set(view.ravel()) == {1}
    del view
    parent.release()
    assert child.put(frame(3)) == 0


def test_no_python_runs_when_a_frame_goes_away(ends):
    child, parent = ends
    rgb = parent.take(child.put(frame(1)), SHAPE)
    called = []
    sys.setprofile(lambda frame, event, _: called.append((event, frame.f_code.co_name)))
    del rgb
    sys.setprofile(None)
    assert [name for event, name in called if event == "call"] == []
    parent.release()
    assert child.put(frame(2)) == 0


def test_a_frame_that_is_made_in_a_slot_is_not_copied(ends):
    child, parent = ends
    child.put(frame(1))
    made = child.new(SHAPE)
    made[:] = 2
    assert child.put(made) == 1
    rgb = parent.take(1, SHAPE)
    made[0] = 3
    assert set(rgb.ravel()) == {2, 3}


def test_a_frame_arrives_though_another_slot_is_free_by_then(ends):
    child, parent = ends
    held = parent.take(child.put(frame(1)), SHAPE)
    made = child.new(SHAPE)
    made[:] = 2
    del held
    parent.release()
    assert set(parent.take(child.put(made), SHAPE).ravel()) == {2}


def test_without_a_free_slot_there_is_other_memory(ends, monkeypatch):
    child, _ = ends
    monkeypatch.setattr(frame_slots, "PIXEL_BYTES", frame(0).nbytes)
    child.put(frame(0))
    made = child.new(SHAPE)
    assert made.shape == SHAPE
    assert child.put(made) is None


def test_frames_that_are_not_yet_taken_are_not_overwritten(ends):
    child, parent = ends
    slots = [child.put(frame(value)) for value in range(5)]
    assert slots == [0, 1, 2, 3, 4]
    assert [int(parent.take(slot, SHAPE)[0, 0, 0]) for slot in slots] == [0, 1, 2, 3, 4]


def test_no_slot_is_given_when_all_are_taken(ends, monkeypatch):
    child, _ = ends
    monkeypatch.setattr(frame_slots, "PIXEL_BYTES", 2 * frame(0).nbytes)
    assert [child.put(frame(0)) for _ in range(3)] == [0, 1, None]


def test_a_frame_larger_than_all_slots_together_has_none(ends, monkeypatch):
    child, _ = ends
    monkeypatch.setattr(frame_slots, "PIXEL_BYTES", 100)
    assert child.put(frame(0, (8, 8, 3))) is None


def test_where_files_must_be_small_there_are_no_slots():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with os.fdopen(new_slots(), "rb") as memory:
            assert FrameSlots(memory.fileno()).put(frame(0)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_frames_of_another_size_wait_until_those_before_are_gone(ends):
    child, parent = ends
    held = parent.take(child.put(frame(1)), SHAPE)
    assert child.put(frame(2, (9, 6, 3))) is None
    assert set(held.ravel()) == {1}
    del held
    parent.release()
    assert child.put(frame(2, (9, 6, 3))) == 0


def test_pixels_outlive_both_ends(ends):
    child, parent = ends
    rgb = parent.take(child.put(frame(7)), SHAPE)
    del child, parent
    assert set(rgb.ravel()) == {7}
