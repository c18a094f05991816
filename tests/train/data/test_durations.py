"""Videos whose rows end much earlier or later than their annotations say."""

import math

import numpy as np
import pytest

from cache_schema.errors import AnnotationError
from tests.train.toy import make_store
from train.data.durations import compare_durations
from train.task import Sample


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Video ``a`` has 200 rows of half a second, ``folder/b`` 8, the clip ``c`` 20."""
    rows = {"a": 200, "folder/b": 8, "c": 20}
    arrays = {name: np.ones((count, 3), np.float32) for name, count in rows.items()}
    return make_store(tmp_path_factory.mktemp("store") / "f.zarr", arrays).stream()


def sample(video_id, duration=None, *, start=0.0, end=math.inf, clip_id=""):
    return Sample(
        video_id=video_id,
        start_seconds=start,
        end_seconds=end,
        target=None,
        duration_seconds=duration,
        clip_id=clip_id,
    )


def compare(stream, *samples):
    return compare_durations("toy", samples, stream)


def test_rows_that_are_too_many_or_too_few_are_counted_and_named(stream):
    found = compare(
        stream, sample("a", 50.0), sample("a", 100.0), sample("b", 8.0), sample("c", 10)
    )
    assert found.to_json() == {
        "videos": 4,
        "other": 2,
        "first": [
            {"video": "a", "annotated_end_seconds": 50.0, "rows_end_seconds": 100.0},
            {"video": "b", "annotated_end_seconds": 8.0, "rows_end_seconds": 4.0},
        ],
    }
    assert found.text() == (
        "toy: 2 of 4 videos have rows for another time than annotated: a 50 s (rows end at 100 s), "
        "b 8 s (rows end at 4 s)"
    )


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(98.0, 1), (98.1, 0), (100.0, 0), (102.0, 0), (102.1, 1), (100 * 24 / 25, 1), (100.1, 0)],
)
def test_two_percent_are_rounding_a_wrong_rate_is_not(stream, duration, expected):
    """24 for 25 frames a second is told, 29.97 for 30 is not."""
    found = compare(stream, sample("a", duration), sample("c", 10.0))
    assert found.num_misfits == expected


@pytest.mark.parametrize(("duration", "expected"), [(5.0, 0), (5.1, 1), (3.0, 0), (2.9, 1)])
def test_so_is_a_second_for_short_videos(stream, duration, expected):
    assert compare(stream, sample("b", duration), sample("c", 10.0)).num_misfits == expected


def test_a_video_that_many_samples_share_counts_once(stream):
    found = compare(stream, *[sample("a", 100.0)] * 3, *[sample("b", 9.0)] * 3)
    assert (found.num_cases, found.num_misfits) == (2, 1)


def test_rows_of_a_video_must_reach_its_clips_and_may_go_on(stream):
    clips = [sample("a", start=start, end=start + 40.0) for start in (0.0, 60.0, 90.0)]
    found = compare(stream, *clips)
    assert [one.seconds for one in found.first] == [130.0]
    assert found.num_cases == 3


def test_rows_of_a_clip_alone_are_as_long_as_it_is(stream):
    fitting = sample("elsewhere", start=300.0, end=310.0, clip_id="c")
    longer = sample("elsewhere", start=300.0, end=305.0, clip_id="c")
    found = compare(stream, fitting, longer)
    assert (found.num_cases, found.num_misfits) == (2, 1)
    assert found.first[0].rows_end_seconds == 310.0
    assert found.first[0].seconds == 305.0


def test_a_clip_that_is_the_whole_video_is_as_long_as_its_rows(stream):
    found = compare(stream, sample("a", end=50.0, clip_id="a"), sample("c", 10.0))
    assert found.num_misfits == 1


def test_videos_without_a_duration_or_rows_are_not_compared(stream):
    assert compare(stream, sample("a"), sample("nowhere", 3.0)).num_cases == 0


def test_more_than_half_are_refused_with_what_may_be_wrong(stream):
    with pytest.raises(AnnotationError, match=r"2 of 3 videos .* --seconds-per-row, --fps"):
        compare(stream, sample("a", 50.0), sample("b", 8.0), sample("c", 10.0))
