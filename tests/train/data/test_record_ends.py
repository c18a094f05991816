"""Annotated records that end behind the rows of their video."""

import math

import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from tests.train.toy import make_store
from train.data.record_ends import record_ends_beyond
from train.task import Sample


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Video ``a`` has 20 rows of half a second, ``folder/b`` has 8."""
    rows = {"a": np.ones((20, 3), np.float32), "folder/b": np.ones((8, 3), np.float32)}
    return make_store(tmp_path_factory.mktemp("store") / "f.zarr", rows).stream()


def sample(video_id, *ends, start=0.0):
    return Sample(
        video_id=video_id, start_seconds=start, end_seconds=math.inf, target=None, record_ends=ends
    )


def found(stream, *samples):
    return record_ends_beyond("toy", samples, stream)


def test_records_behind_the_last_row_are_counted_and_named(stream):
    one = found(stream, sample("a", 3.0, 10.0, 900.0), sample("b", 2.0, 4.0, 4.0, 6.5))
    assert one.to_json() == {
        "records": 7,
        "beyond": 2,
        "first": [
            {"video": "a", "end_seconds": 900.0, "rows_end_seconds": 10.0},
            {"video": "b", "end_seconds": 6.5, "rows_end_seconds": 4.0},
        ],
    }
    assert one.text() == (
        "toy: 2 of 7 annotated records end behind the rows of their video: a at 900 s (rows end at "
        "10 s), b at 6.5 s (rows end at 4 s)"
    )


def test_only_the_first_are_named(stream):
    one = found(stream, sample("a", *range(60), *[1.0] * 60))
    assert len(one.to_json()["first"]) == 5
    assert one.text().endswith("a at 16 s (rows end at 10 s), ...")


@pytest.mark.parametrize(("end", "expected"), [(10.0, 0), (11.0, 0), (11.001, 1)])
def test_a_second_is_rounding(stream, end, expected):
    assert found(stream, sample("a", 1.0, end)).num_misfits == expected


@pytest.mark.parametrize(("end", "expected"), [(14.0, 0), (14.1, 1)])
def test_so_is_a_row_where_rows_are_longer(stream, monkeypatch, end, expected):
    times = np.array([[0.0, 4.0], [4.0, 8.0], [8.0, 10.0]])
    monkeypatch.setattr(stream, "times", lambda video_id: times)
    assert found(stream, sample("a", 1.0, end)).num_misfits == expected


def test_videos_that_the_store_lacks_do_not_count(stream):
    one = found(stream, sample("nothing", 900.0, 900.0), sample("a", 1.0))
    assert (one.num_cases, one.num_misfits) == (1, 0)


def test_samples_without_ends_have_nothing_to_check(stream):
    assert found(stream, sample("a")).to_json() == {"records": 0, "beyond": 0, "first": []}


def test_half_of_the_records_may_be_beyond(stream):
    assert found(stream, sample("a", 1.0, 900.0)).num_misfits == 1


def test_more_than_half_are_refused_with_what_may_be_wrong(stream):
    with pytest.raises(AnnotationError) as refused:
        found(stream, sample("a", 1.0, 200.0), sample("b", 300.0, start=250.0))
    assert str(refused.value) == (
        "toy: 2 of 3 annotated records end behind the rows of their video: a at 200 s (rows end at "
        "10 s), b at 300 s (rows end at 4 s). Times are seconds from the start of the video: look "
        "for frame numbers instead of seconds, frame labels at another rate (--set "
        "train.tasks.action_segmentation.label_fps=30, if that is theirs), or features of another "
        "cut of the videos."
    )
