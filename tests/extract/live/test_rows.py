from fractions import Fraction

import numpy as np
import pytest
import torch

from extract.config import ExtractConfig
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders.base import encode_fixed
from extract.live.capture import Tick
from extract.live.counts import LiveCounts
from extract.live.rows import RowMaker, smallest_equal_batch
from extract.plan.targets import build_targets
from tests.extract.tiny_models import write_model


def ticks(numbers, connection=0, offset=0.0):
    return [
        Tick(number, np.full((16, 16, 3), number, np.uint8), 0.0, connection, offset)
        for number in numbers
    ]


@pytest.fixture
def maker(tmp_path):
    folder = str(write_model(tmp_path, "timesformer")[0])
    config = ExtractConfig(
        encoders=(folder,), fps=Fraction(2), stride_frames=2, device="cpu", store_dtype="float32"
    )
    target = build_targets(config, None)[0]
    counts = LiveCounts()
    with EncodeThreads(1) as threads:
        yield RowMaker(target.encoder, threads, target.recipe, counts, 1), counts


def starts(rows):
    return [row.start for row in rows]


def pushed(maker, some):
    return [row for tick in some for row in maker.push(tick)]


def test_windows_that_lost_a_tick_are_left_out_and_counted(maker):
    rows, counts = maker
    length = rows._recipe.sampling.frames_per_window  # windows begin at every second tick
    assert starts(pushed(rows, ticks(range(length)))) == [0.0]
    # Tick `length` is lost: of the windows that begin at 2, 4, ... none has all its ticks up to it.
    first = length + 1 + (length + 1) % 2
    made = pushed(rows, ticks(range(length + 1, first + length)))
    assert starts(made) == [first / 2]
    assert counts.dropped_rows == first // 2 - 1


def test_another_connection_begins_anew_at_its_own_second(maker):
    rows, counts = maker
    length = rows._recipe.sampling.frames_per_window
    before = pushed(rows, ticks(range(length + 1)))
    after = pushed(rows, ticks(range(length), connection=1, offset=100.0))
    assert [(row.start, row.connection) for row in before + after] == [(0.0, 0), (100.0, 1)]
    np.testing.assert_array_equal(before[0].values, after[0].values)
    assert counts.dropped_rows == 0


def test_the_tail_is_padded_as_in_a_file(maker):
    rows, _ = maker
    length = rows._recipe.sampling.frames_per_window
    pushed(rows, ticks(range(length + 1)))
    (last,) = rows.finish(end_seconds=(length + 1) / 2)
    assert (last.start, last.end) == (1.0, (length + 1) / 2)


class OddAboveTwo:
    """Sums in another order for batches above two, as matrix libraries do."""

    device = torch.device("cpu")
    frames_per_window = 1
    row_shape = (1,)
    calls: list[int]

    def __init__(self, preprocess):
        self.preprocess = preprocess
        self.calls = []

    def encode(self, pixels_BFCHW):
        self.calls.append(len(pixels_BFCHW))
        rows = pixels_BFCHW.sum(dim=(1, 2, 3, 4), keepdim=False)[:, None]
        return rows * (1 + 1e-6 * (len(pixels_BFCHW) > 2))


@pytest.mark.parametrize(("batch_size", "expected"), [(2, 1), (8, 4), (1, 1)])
def test_the_smallest_batch_with_the_same_bits_is_found(batch_size, expected):
    fake = build_targets(ExtractConfig(encoders=("fake",), device="cpu"), None)[0].encoder
    encoder = OddAboveTwo(fake.preprocess)
    with EncodeThreads(1) as threads:
        assert smallest_equal_batch(encoder, threads, batch_size) == expected
    pixels = torch.rand(1, 1, 3, 8, 8)
    whole = encode_fixed(encoder, pixels, batch_size)
    assert torch.equal(encode_fixed(encoder, pixels, expected), whole)
