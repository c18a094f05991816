import threading

import pytest
import torch

from cache_schema.recipe import EncoderRecipe
from extract.encode.batching import EncodeQueue, Finished, NotFinite, Rows, to_stored
from extract.encode.cpu_threads import EncodeThreads


class MeanEncoder:
    """A row is the mean of its window; remembers the size of every batch."""

    recipe = EncoderRecipe(
        id="mean", weights_sha256="0", compute_dtype="float32", pooling="default"
    )
    row_shape = (1,)
    frames_per_window = 1
    device = torch.device("cpu")

    def __init__(self):
        self.batches = []

    def encode(self, pixels_BFCHW):
        self.batches.append(len(pixels_BFCHW))
        return pixels_BFCHW.flatten(1).mean(1, keepdim=True)


@pytest.fixture(params=[1, 3])
def threads(request):
    with EncodeThreads(request.param) as threads:
        yield threads


def window(value):
    return torch.full((1, 1, 1, 1), float(value))


def feed(queue, *videos):
    """Push videos (name, values); return the events as (kind, owner, values)."""
    events = []
    for name, values in videos:
        for value in values:
            events += queue.push(name, window(value))
        events += queue.end(name)
    events += queue.flush()
    return [
        (type(event).__name__, event.owner, event.values[:, 0].tolist())
        if isinstance(event, Rows)
        else (type(event).__name__, event.owner)
        for event in events
    ]


def test_rows_come_back_in_order_and_a_video_ends_after_its_last_row(threads):
    encoder = MeanEncoder()
    queue = EncodeQueue(encoder, threads, 4, "float32")
    events = feed(queue, ("a", [1, 2, 3]), ("b", [4, 5, 6, 7, 8, 9]))
    assert events == [
        ("Rows", "a", [1, 2, 3]),
        ("Finished", "a"),
        ("Rows", "b", [4]),
        ("Rows", "b", [5, 6, 7, 8]),
        ("Rows", "b", [9]),
        ("Finished", "b"),
    ]
    assert encoder.batches == [4, 4, 4]


def test_videos_that_fill_batches_exactly_end_in_turn(threads):
    videos = [(name, [number, number + 0.5]) for number, name in enumerate("abcdefgh")]
    events = feed(EncodeQueue(MeanEncoder(), threads, 2, "float32"), *videos)
    expected = [(("Rows", name, values), ("Finished", name)) for name, values in videos]
    assert events == [event for pair in expected for event in pair]


def test_a_video_without_a_row_ends(threads):
    queue = EncodeQueue(MeanEncoder(), threads, 2, "float32")
    assert list(queue.push("a", window(1))) == []
    assert list(queue.end("a")) == []
    assert [type(event) for event in queue.flush()] == [Rows, Finished]


class MeetingEncoder(MeanEncoder):
    """Encodes a batch only while another one is being encoded beside it."""

    def __init__(self):
        super().__init__()
        self._meeting = threading.Barrier(2)

    def encode(self, pixels_BFCHW):
        self._meeting.wait(timeout=60)
        return super().encode(pixels_BFCHW)


def test_batches_are_encoded_side_by_side_while_others_are_filled():
    encoder = MeetingEncoder()
    with EncodeThreads(2) as threads:
        queue = EncodeQueue(encoder, threads, 2, "float32")
        # Three batches may be under way: it is the fourth that waits for the first one's rows.
        for value in range(7):
            assert list(queue.push("a", window(value))) == []
        (rows,) = queue.push("a", window(7))
        assert rows.values[:, 0].tolist() == [0, 1]
        assert [rows.values[0, 0] for rows in queue.flush()] == [2, 4, 6]


def test_dropping_a_failed_video_keeps_the_ones_before_it(threads):
    queue = EncodeQueue(MeanEncoder(), threads, 4, "float32")
    events = list(queue.push("a", window(1))) + list(queue.end("a"))
    events += queue.push("b", window(2))
    assert queue.drop("b") is False  # no row of b was given out
    events += queue.flush()
    assert events == [Rows("a", events[0].values), Finished("a")]


def test_drop_tells_that_rows_are_already_out():
    with EncodeThreads(1) as threads:
        queue = EncodeQueue(MeanEncoder(), threads, 1, "float32")
        for value in range(threads.num_ahead):
            list(queue.push("a", window(value)))
        assert [len(rows.values) for rows in queue.push("a", window(9))] == [1]
        assert queue.drop("a") is True
        assert list(queue.flush()) == []


def test_rows_under_way_of_a_dropped_video_are_not_given_out(threads):
    queue = EncodeQueue(MeanEncoder(), threads, 2, "float32")
    for owner, value in (("a", 1), ("b", 2), ("b", 3)):
        assert list(queue.push(owner, window(value))) == []
        if owner == "a":
            list(queue.end("a"))
    assert queue.drop("b") is False
    events = list(queue.flush())
    assert events == [Rows("a", events[0].values), Finished("a")]


@pytest.mark.parametrize("values", [[1e6], [1e6] * 9, [1] * 8 + [1e6]])
def test_a_value_that_overflows_the_stored_dtype_is_reported_for_its_video_only(threads, values):
    queue = EncodeQueue(MeanEncoder(), threads, 4, "float16")
    events = feed(queue, ("a", values), ("b", [1]))
    assert [event for event in events if event[0] != "Rows"] == [
        ("NotFinite", "a"),
        ("Finished", "b"),
    ]
    assert [event for event in events if event[:2] == ("Rows", "b")] == [("Rows", "b", [1])]
    assert NotFinite("a") == NotFinite("a")


def test_bfloat16_is_stored_as_the_upper_half_of_float32():
    bits = to_stored(torch.tensor([[1.0, -2.5]]), "bfloat16")
    assert bits.dtype == "uint16"
    assert bits.tolist() == [[0x3F80, 0xC020]]
