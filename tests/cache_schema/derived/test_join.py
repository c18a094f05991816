import pickle
from fractions import Fraction

import numpy as np
import pytest

from cache_schema.derived.join import JoinedStream
from cache_schema.errors import StoreError
from cache_schema.memory import memory_stream
from cache_schema.testing import make_recipe


def stream(name, videos, fps=2):
    """Return a stream of videos, each values and (R, 2) times."""
    return memory_stream(make_recipe(encoder_id=name, fps=Fraction(fps)), videos)


def ramp(num_rows, width, offset=0.0):
    return np.arange(num_rows, dtype=np.float32)[:, None] * np.ones(width, np.float32) + offset


def side_by_side(num_rows, seconds):
    edges = np.arange(num_rows + 1) * seconds
    return np.stack([edges[:-1], edges[1:]], axis=1)


def windows_of(num_rows, seconds, stride):
    starts = np.arange(num_rows) * stride
    return np.stack([starts, starts + seconds], axis=1)


SLOW = {"a": (ramp(3, 1, 100), side_by_side(3, 2.0)), "b": (ramp(2, 1, 100), side_by_side(2, 2.0))}
FAST = {"a": (ramp(6, 2), side_by_side(6, 1.0)), "b": (ramp(4, 2), side_by_side(4, 1.0))}


def test_rows_are_those_of_the_first_and_the_latest_that_has_ended_of_the_others():
    joined = JoinedStream([stream("fast", FAST), stream("slow", SLOW, 0.5)])
    rows = joined.read("a")
    np.testing.assert_array_equal(rows.times_R2, FAST["a"][1])
    # The first slow row ends at 2 s; before that there is none.
    assert rows.values[:, 2].tolist() == [0, 100, 100, 101, 101, 102]
    assert rows.values[:, :2].tolist() == FAST["a"][0].tolist()
    assert joined.name == "fast+slow"
    assert (joined.row_shape, joined.widths) == ((3,), (2, 1))


def test_the_order_of_the_streams_decides_the_time_line():
    joined = JoinedStream([stream("slow", SLOW, 0.5), stream("fast", FAST)])
    assert joined.read("a").values.tolist() == [[100, 1, 1], [101, 3, 3], [102, 5, 5]]


def test_nothing_that_ends_later_is_shown():
    rng = np.random.default_rng(0)
    for seed in range(20):
        seconds, stride = rng.uniform(0.1, 3, 2)
        other = {"v": (ramp(30, 1), windows_of(30, seconds, stride))}
        own = {"v": (ramp(12, 1), windows_of(12, 0.7, 0.9))}
        rows = JoinedStream([stream("own", own), stream("other", other)]).read("v")
        for row, (_, end) in enumerate(own["v"][1]):
            ended = np.flatnonzero(other["v"][1][:, 1] <= end + 1e-9)
            assert rows.values[row, 1] == (ended[-1] if len(ended) else 0), seed


def test_windows_are_parts_of_the_whole():
    joined = JoinedStream([stream("fast", FAST), stream("slow", SLOW, 0.5)])
    out = np.full((3, 4, 3), 9.0, np.float32)
    joined.read_windows([("a", 2, 4), ("b", 0, 2), ("a", 0, 1)], out)
    np.testing.assert_array_equal(out[0], joined.read("a").values[2:])
    np.testing.assert_array_equal(out[1, :2], joined.read("b").values[:2])
    np.testing.assert_array_equal(out[2, :1], joined.read("a").values[:1])
    assert not out[1, 2:].any()
    assert not out[2, 1:].any()


def test_a_time_line_of_its_own():
    joined = JoinedStream([stream("fast", FAST), stream("slow", SLOW, 0.5)], Fraction(1, 2))
    rows = joined.read("a")
    assert rows.times_R2.tolist() == [[0, 2], [2, 4], [4, 6]]
    assert rows.values.tolist() == [[1, 1, 100], [3, 3, 101], [5, 5, 102]]
    assert (joined.rows_of("a"), joined.num_rows) == (3, 5)
    dense = JoinedStream([stream("slow", SLOW, 0.5), stream("fast", FAST)], Fraction(4))
    assert dense.rows_of("a") == 24
    assert dense.times("a")[-1].tolist() == [5.75, 6.0]
    assert dense.read("a").values[3].tolist() == [0, 0, 0]  # a second: the first fast row, 0


def test_the_last_row_of_a_time_line_ends_with_the_video():
    videos = {"v": (ramp(3, 1), np.array([[0, 1], [1, 2], [2, 2.3]]))}
    joined = JoinedStream([stream("x", videos, 1), stream("y", videos, 1)], Fraction(2))
    assert joined.times("v").tolist() == [[0, 0.5], [0.5, 1], [1, 1.5], [1.5, 2], [2, 2.3]]
    assert joined.read("v").values[-1].tolist() == [2, 2]


def test_videos_that_one_stream_lacks_are_left_out():
    joined = JoinedStream([stream("fast", FAST), stream("slow", {"b": SLOW["b"]}, 0.5)])
    assert joined.video_ids == ["b"]
    assert "a" not in joined
    with pytest.raises(StoreError, match="no video 'a'"):
        joined.read("a")


def test_ids_may_lie_below_other_folders():
    deep = {f"clips/{name}": rows for name, rows in SLOW.items()}
    joined = JoinedStream([stream("fast", FAST), stream("slow", deep, 0.5)])
    assert joined.video_ids == ["a", "b"]
    assert joined.read("b").values[:, 2].tolist() == [0, 100, 100, 101]


def test_streams_without_a_common_video_are_refused():
    with pytest.raises(StoreError, match=r"fast, slow have no video in common \(fast: a, b"):
        JoinedStream([stream("fast", FAST), stream("slow", {"z": SLOW["a"]})])


def test_grids_of_tokens_are_averaged():
    grid = {"a": (np.stack([ramp(6, 2), ramp(6, 2, 4)], axis=1), FAST["a"][1])}
    joined = JoinedStream([stream("fast", {"a": FAST["a"]}), stream("grid", grid)])
    assert joined.read("a").values[:, 2:].tolist() == ramp(6, 2, 2).tolist()


def test_its_recipe_names_all_others_and_the_time_line():
    fast, slow = stream("fast", FAST), stream("slow", SLOW, 0.5)
    joined = JoinedStream([fast, slow])
    assert joined.recipe.stored == (fast.recipe, slow.recipe)
    assert joined.stored == (fast, slow)
    assert joined.recipe.sampling == fast.recipe.sampling
    prints = {
        one.recipe.fingerprint
        for one in (
            joined,
            JoinedStream([slow, fast]),
            JoinedStream([fast, slow], Fraction(1)),
            fast,
        )
    }
    assert len(prints) == 4


def test_it_can_be_sent_to_another_process():
    joined = JoinedStream([stream("fast", FAST), stream("slow", SLOW, 0.5)])
    again = pickle.loads(pickle.dumps(joined))
    np.testing.assert_array_equal(again.read("a").values, joined.read("a").values)


def test_rows_of_the_first_stream_are_its_own_where_several_end_with_the_video():
    # The last windows of a video all end where it ends.
    times = np.minimum(windows_of(5, 2.0, 0.5), 2.7)
    videos = {"v": (ramp(5, 1), times)}
    joined = JoinedStream([stream("own", videos), stream("other", videos)])
    assert joined.read("v").values[:, 0].tolist() == [0, 1, 2, 3, 4]
    # Of the other the latest that has ended: all of the last three have by 2.7 s.
    assert joined.read("v").values[:, 1].tolist() == [0, 1, 4, 4, 4]
