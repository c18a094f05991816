import torch

from cache_schema.recipe import EncoderRecipe
from extract.encode.batching import EncodeQueue, Finished, NotFinite, Rows, to_stored


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


def test_rows_come_back_in_order_and_a_video_ends_after_its_last_row():
    encoder = MeanEncoder()
    events = feed(EncodeQueue(encoder, 4, "float32"), ("a", [1, 2, 3]), ("b", [4, 5, 6, 7, 8, 9]))
    assert events == [
        ("Rows", "a", [1, 2, 3]),
        ("Finished", "a"),
        ("Rows", "b", [4]),
        ("Rows", "b", [5, 6, 7, 8]),
        ("Rows", "b", [9]),
        ("Finished", "b"),
    ]
    assert encoder.batches == [4, 4, 4]


def test_a_video_that_fills_a_batch_exactly_ends_at_once():
    events = feed(EncodeQueue(MeanEncoder(), 2, "float32"), ("a", [1, 2]), ("b", [3]))
    assert events == [
        ("Rows", "a", [1, 2]),
        ("Finished", "a"),
        ("Rows", "b", [3]),
        ("Finished", "b"),
    ]


def test_several_batches_go_at_once_and_only_the_last_one_is_filled_up():
    encoder = MeanEncoder()
    queue = EncodeQueue(encoder, 2, "float32", at_once=3)
    events = feed(queue, ("a", [1, 2, 3, 4, 5, 6, 7, 8, 9]))
    assert encoder.batches == [6, 4]
    assert events == [
        ("Rows", "a", [1, 2, 3, 4, 5, 6]),
        ("Rows", "a", [7, 8, 9]),
        ("Finished", "a"),
    ]


def test_dropping_a_failed_video_keeps_the_ones_before_it():
    queue = EncodeQueue(MeanEncoder(), 4, "float32")
    events = list(queue.push("a", window(1))) + list(queue.end("a"))
    events += queue.push("b", window(2))
    assert queue.drop("b") is False  # no row of b was given out
    events += queue.flush()
    assert events == [Rows("a", events[0].values), Finished("a")]


def test_drop_tells_that_rows_are_already_out():
    queue = EncodeQueue(MeanEncoder(), 1, "float32")
    list(queue.push("a", window(1)))
    assert queue.drop("a") is True


def test_a_value_that_overflows_the_stored_dtype_is_reported_for_its_video_only():
    events = feed(EncodeQueue(MeanEncoder(), 4, "float16"), ("a", [1e6]), ("b", [1]))
    assert events == [("NotFinite", "a"), ("Rows", "b", [1]), ("Finished", "b")]
    assert NotFinite("a") == NotFinite("a")


def test_bfloat16_is_stored_as_the_upper_half_of_float32():
    bits = to_stored(torch.tensor([[1.0, -2.5]]), "bfloat16")
    assert bits.dtype == "uint16"
    assert bits.tolist() == [[0x3F80, 0xC020]]
