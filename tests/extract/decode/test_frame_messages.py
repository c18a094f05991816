import os

import numpy as np
import pytest

from cache_schema.errors import VideoError
from extract.decode import frame_messages, frame_slots
from extract.decode.frame_messages import MESSAGE_FRAMES, FrameMessages
from extract.decode.frame_slots import FrameSlots, new_slots
from extract.decode.frames import SampledFrame
from extract.decode.planes import YuvMatrix

SHAPE = (4, 6, 3)


@pytest.fixture
def sent():
    """Return the messages that were sent: numbers of ticks of their frames, and raw bytes."""
    return []


@pytest.fixture
def messages(sent):
    def send(fields, raw):
        ticks = [num_ticks for _, num_ticks in fields["frames"]]
        sent.append((ticks, None if raw is None else bytes(raw)))

    with os.fdopen(new_slots(), "rb") as memory:
        yield FrameMessages(FrameSlots(memory.fileno()), send)


def frame(number, shape=SHAPE, matrix=None):
    return SampledFrame(pixels=np.full(shape, number, np.uint8), num_ticks=number, matrix=matrix)


def test_the_first_frame_goes_at_once_and_others_together(messages, sent):
    for number in range(4):
        messages.add(frame(number))
    assert sent == [([0], None)]
    messages.flush()
    messages.flush()
    assert sent == [([0], None), ([1, 2, 3], None)]


def test_nothing_is_sent_before_frames_are_whole(sent):
    told = []
    with os.fdopen(new_slots(), "rb") as memory:
        slots = FrameSlots(memory.fileno())
        messages = FrameMessages(slots, lambda *_: told.append("sent"), lambda: told.append("wait"))
        for number in range(3):
            messages.add(frame(number))
        messages.flush()
        messages.flush()
    assert told == ["wait", "sent"] * 2


def test_a_message_has_so_many_frames_or_bytes(messages, sent, monkeypatch):
    for number in range(1 + MESSAGE_FRAMES):
        messages.add(frame(number))
    assert [len(ticks) for ticks, _ in sent] == [1, MESSAGE_FRAMES]
    monkeypatch.setattr(frame_messages, "MESSAGE_BYTES", 3 * frame(0).pixels.nbytes)
    for number in range(4):
        messages.add(frame(number))
    assert sent[2:] == [([0, 1, 2], None)]


def test_frames_of_another_size_or_kind_go_apart(messages, sent):
    matrix = YuvMatrix(0, 1, 2, 3, 4, 5)
    for one in (frame(0), frame(1), frame(2, (8, 6, 3)), frame(3, (6, 12), matrix)):
        messages.add(one)
    messages.flush()
    assert [ticks for ticks, _ in sent] == [[0], [1], [2], [3]]


def test_a_frame_without_a_slot_goes_alone_behind_those_that_wait(messages, sent, monkeypatch):
    monkeypatch.setattr(frame_slots, "PIXEL_BYTES", 3 * frame(0).pixels.nbytes)
    for number in range(5):
        messages.add(frame(number))
    raw = frame(3).pixels.tobytes(), frame(4).pixels.tobytes()
    assert sent == [([0], None), ([1, 2], None), ([3], raw[0]), ([4], raw[1])]


def test_frames_that_have_waited_go(messages, sent, monkeypatch):
    messages.flush_old()
    messages.add(frame(0))
    messages.add(frame(1))
    messages.flush_old()
    assert len(sent) == 1
    monkeypatch.setattr(frame_messages, "MESSAGE_SECONDS", -1.0)
    messages.flush_old()
    assert [ticks for ticks, _ in sent] == [[0], [1]]


def test_what_is_no_image_is_refused(messages, sent):
    with pytest.raises(VideoError, match=r"frames of shape \(4, 6, 4\) and type uint8"):
        messages.add(frame(0, (4, 6, 4)))
    assert sent == []


def test_pixels_that_do_not_lie_in_one_piece_arrive(messages, sent, monkeypatch):
    monkeypatch.setattr(frame_slots, "PIXEL_BYTES", 0)
    pixels = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)[:, :6]
    messages.add(SampledFrame(pixels=pixels, num_ticks=1))
    assert sent == [([1], pixels.tobytes())]
