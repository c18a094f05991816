import math
from fractions import Fraction

import numpy as np
import pytest

from cache_schema import AnnotationError, StoreError, as_float32
from cache_schema.testing import make_rows, make_store
from train import IGNORED, rows_with_labels


@pytest.fixture
def stream(tmp_path):
    """Two rows a second: centres at 0.25, 0.75, ..., 2.75 s."""
    return make_store(tmp_path / "f.zarr", {"kitchen/a": 6}, store_dtype="bfloat16").stream()


def test_a_row_has_the_label_of_the_segment_that_covers_its_centre(stream):
    found = rows_with_labels(stream, "kitchen/a", [(0.3, 1.25, "stir"), (1.25, 1.3, "pour")])
    assert found.label_names == ("pour", "stir")
    assert found.labels_R.tolist() == [-100, 1, 0, -100, -100, -100]
    assert IGNORED == -100
    expected = as_float32(make_rows(6, dtype="bfloat16"), "bfloat16")
    np.testing.assert_array_equal(found.values, expected)
    assert found.times_R2[-1].tolist() == [2.5, 3.0]


def test_segments_may_come_in_any_order_and_end_never(stream):
    found = rows_with_labels(stream, "a", [(1.0, math.inf, "b"), (0.0, 1.0, "a")])
    assert found.labels_R.tolist() == [0, 0, 1, 1, 1, 1]


def test_no_segments_are_no_labels(stream):
    assert rows_with_labels(stream, "a", []).labels_R.tolist() == [IGNORED] * 6


def test_several_videos_count_alike_by_given_names(stream):
    found = rows_with_labels(stream, "a", [(0, 9, "stir")], label_names=["pour", "cut", "stir"])
    assert set(found.labels_R) == {2}
    with pytest.raises(AnnotationError, match=r"label 'stirr' .* Did you mean 'stir'"):
        rows_with_labels(stream, "a", [(0, 9, "stirr")], label_names=["pour", "stir"])


def test_a_centre_on_a_border_belongs_to_what_starts_there_whatever_the_rounding(tmp_path):
    stream = make_store(tmp_path / "f.zarr", {"a": 90}, fps=Fraction(30000, 1001)).stream()
    centres = stream.times("a").mean(axis=1)
    borders = [float((index + Fraction(1, 2)) * Fraction(1001, 30000)) for index in range(91)]
    assert not np.array_equal(centres, borders[:-1])  # some differ by a rounding error
    segments = [(borders[i], borders[i + 1], f"{i:02}") for i in range(90)]
    assert rows_with_labels(stream, "a", segments).labels_R.tolist() == list(range(90))


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([(0, 1, "a"), (0.5, 2, "b")], r"'b' starts at 0\.5 s, before the one ahead of it ends"),
        ([(1, 1, "a")], r"'a' is \[1, 1\), expected seconds with start before end"),
        ([(math.nan, 1, "a")], r"'a' is \[nan, 1\)"),
    ],
)
def test_segments_that_cannot_be_are_refused(stream, segments, message):
    with pytest.raises(AnnotationError, match=message):
        rows_with_labels(stream, "a", segments)


def test_an_unknown_video_is_named(stream):
    with pytest.raises(StoreError, match="no video 'b' among 1"):
        rows_with_labels(stream, "b", [])
