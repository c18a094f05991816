"""What no backend's writer takes: refused with a sentence, and the next video is written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache_schema.derived.join import JoinedStream
from cache_schema.derived.motion import MotionStream
from cache_schema.errors import StoreError
from cache_schema.object_backend.bucket import Bucket
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from cache_schema.testing import (
    add_video,
    make_recipe,
    make_rows,
    make_store,
    make_times,
    make_video,
)


@pytest.fixture(params=[".zarr", ".h5", "bucket"])
def path(request, tmp_path):
    if request.param == "bucket":
        return request.getfixturevalue("address")
    return tmp_path / f"s{request.param}"


@pytest.fixture
def writer(path):
    return create_store(path)


@pytest.fixture
def stream(writer):
    return writer.stream("tiny", make_recipe(), (4,))


def check_next(path, writer, stream):
    """Write a video after the refusal: the store holds it and nothing else."""
    stream.abandon()
    add_video(stream, "c", make_rows(2, seed=2))
    writer.close()
    found = open_store(path).stream()
    assert found.video_ids == ["c"]
    np.testing.assert_array_equal(found.read("c").values, make_rows(2, seed=2))
    assert verify_store(path).problems == []


@pytest.mark.parametrize("field", ["id", "path", "decoder"])
def test_a_record_that_is_no_utf8_is_refused(path, writer, stream, field):
    stream.append(make_rows(3))
    video = replace(make_video("b"), **{field: "caf\udce9"})
    with pytest.raises(StoreError, match=rf"its {field} is .caf.*not valid UTF-8.*Rename the file"):
        stream.commit(video, make_times(3))
    check_next(path, writer, stream)


@pytest.mark.parametrize("call", ["put", "put_new"])
def test_a_commit_to_a_bucket_that_is_interrupted_is_none(address, monkeypatch, call):
    def interrupted(*_):
        raise KeyboardInterrupt

    writer = create_store(address)
    stream = writer.stream("tiny", make_recipe(), (4,))
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            add_video(stream, "b", make_rows(3))
    check_next(address, writer, stream)


@pytest.mark.parametrize(
    "row_shape", [(7, 7, 512), (), (0,), (4, 0), (-4,), (4.0,), ("4",), None, 4, [[4]]]
)
def test_a_stream_is_not_made_with_an_impossible_row_shape(path, writer, row_shape):
    add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(3))
    with pytest.raises(StoreError, match=r"stream 'new': row_shape is .* or \(tokens, dim\)"):
        writer.stream("new", make_recipe(encoder_id="new"), row_shape)
    writer.close()
    assert list(open_store(path).streams) == ["tiny"]


def test_a_row_shape_may_have_the_integers_of_numpy(path, writer):
    stream = writer.stream("tiny", make_recipe(), (np.int64(3), np.int32(4)))
    add_video(stream, "a", make_rows(3, (3, 4)))
    writer.close()
    (found,) = open_store(path).streams.values()
    assert found.row_shape == (3, 4)
    assert {type(size) for size in found.row_shape} == {int}
    assert verify_store(path).problems == []


@pytest.mark.parametrize("store_dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_no_numbers_are_refused(path, writer, store_dtype, bad):
    stream = writer.stream("tiny", make_recipe(store_dtype=store_dtype), (2, 3))
    numbers = np.full((5, 2, 3), -1.5, np.float32)
    numbers[1, 0, 2] = numbers[1, 1, 0] = numbers[4, 1, 2] = bad
    with pytest.raises(StoreError, match="2 of 5 rows hold NaN or infinity"):
        stream.append(as_stored_bits(numbers, store_dtype))
    numbers[[1, 4]] = np.finfo(np.float16).max
    add_video(stream, "a", as_stored_bits(numbers, store_dtype))
    writer.close()
    assert verify_store(path).problems == []


def as_stored_bits(numbers, store_dtype):
    if store_dtype == "bfloat16":
        return (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(store_dtype)


@pytest.mark.parametrize(
    ("times", "row"),
    [
        ([[0, 1], [1, 1], [2, 3]], 1),
        ([[0, 1], [2, 3], [1, 4]], 2),
        ([[0, 5], [1, 4], [2, 6]], 1),
        ([[0, 1], [1, 2], [2, np.nan]], 2),
        ([[-np.inf, 1], [1, 2], [2, 3]], 0),
    ],
)
def test_times_that_readers_cannot_search_are_refused(path, writer, stream, times, row):
    stream.append(make_rows(3))
    with pytest.raises(StoreError, match=rf"video 'b': row {row} is \[.*expected finite seconds"):
        stream.commit(make_video("b"), np.array(times, float))
    check_next(path, writer, stream)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_bytes", 2**63),
        ("num_frames", 2**70),
        ("width", -1),
        ("duration_seconds", np.nan),
        ("duration_seconds", np.inf),
    ],
)
def test_numbers_that_readers_cannot_hold_are_refused(path, writer, stream, field, value):
    stream.append(make_rows(3))
    with pytest.raises(StoreError, match=rf"video 'b': its {field} .* expected a"):
        stream.commit(replace(make_video("b"), **{field: value}), make_times(3))
    check_next(path, writer, stream)


def test_the_largest_numbers_are_read_back(path, writer, stream):
    video = replace(make_video("b"), size_bytes=2**63 - 1, num_frames=2**63 - 1)
    stream.append(make_rows(3))
    stream.commit(video, make_times(3))
    writer.close()
    assert open_store(path).stream().commit("b").video == video


def test_a_refused_commit_leaves_the_rows_for_another_try(path, writer, stream):
    stream.append(make_rows(3))
    with pytest.raises(StoreError):
        stream.commit(make_video("b"), -make_times(3))
    stream.commit(make_video("b"), make_times(3))
    writer.close()
    np.testing.assert_array_equal(open_store(path).stream().read("b").values, make_rows(3))


def test_no_rows_may_be_appended(path, writer, stream):
    stream.append(make_rows(0))
    stream.append(make_rows(2, seed=2))
    stream.append(make_rows(0))
    stream.commit(make_video("c"), make_times(2))
    stream.append(make_rows(0))
    with pytest.raises(StoreError, match="'d' has 0 rows"):
        stream.commit(make_video("d"), make_times(0))
    writer.close()
    np.testing.assert_array_equal(open_store(path).stream().read("c").values, make_rows(2, seed=2))
    assert verify_store(path).problems == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((1, 8, 4), np.float32), r"out is float32 \(1, 8, 4\), expected uint16 \(1, T, 4"),
        (np.zeros((1, 8, 4), np.float16), "out is float16"),
        (np.zeros((2, 8, 4), np.uint16), r"out is uint16 \(2, 8, 4\), expected uint16 \(1, T, 4"),
        (np.zeros((1, 8, 5), np.uint16), r"\(1, 8, 5\), expected"),
        (np.zeros((1, 8), np.uint16), r"\(1, 8\), expected"),
        (np.zeros((1, 8, 2, 4), np.uint16), r"\(1, 8, 2, 4\), expected"),
        (np.zeros(8, np.uint16), r"\(8,\), expected"),
        (np.zeros((1, 2, 4), np.uint16), "windows have 3 to 3 rows, expected 0 to 2"),
    ],
)
def test_windows_are_not_read_into_another_array(path, out, message):
    stream = make_store(path, {"a": 5}, store_dtype="bfloat16").stream()
    with pytest.raises(StoreError, match=message):
        stream.read_windows([("a", 0, 3)], out)
    assert not out.any()


def test_a_window_of_less_than_no_rows_is_refused(path):
    stream = make_store(path, {"a": 5, "b": 5}).stream()
    with pytest.raises(StoreError, match="windows have -2 to 3 rows, expected 0 to 8"):
        stream.read_windows([("a", 0, 3), ("b", 4, -2)], np.empty((2, 8, 4), np.float16))


@pytest.mark.parametrize("make", [MotionStream, lambda stream: JoinedStream([stream])])
def test_windows_of_derived_streams_are_looked_at_too(tmp_path, make):
    stream = make(make_store(tmp_path / "s.zarr", {"a": 5}).stream())
    out = np.zeros((1, 8, 4), np.float32)
    for window, target, message in [
        (("a", 0, 3), out.astype(np.float16), "out is float16"),
        (("a", 0, 9), out, "windows have 9 to 9 rows"),
        (("a", 1, -1), out, "windows have -1 to -1 rows"),
        (("a", 3, 3), out, "leaves its 5 rows"),
        (("a", -1, 3), out, "leaves its 5 rows"),
    ]:
        with pytest.raises(StoreError, match=message):
            stream.read_windows([window], target)


@pytest.mark.parametrize("video_id", [Path("a"), 7, None, b"a", ["a"]])
def test_an_id_that_is_no_text_is_named_as_such(path, video_id):
    stream = make_store(path, {"a": 5}).stream()
    with pytest.raises(StoreError, match=r"the id of a video is .* expected text"):
        stream.read(video_id)


@pytest.mark.parametrize("bounds", [(np.nan, 1.0), (0.0, np.nan), (None, float("nan"))])
@pytest.mark.parametrize("make", [lambda stream: stream, MotionStream])
def test_rows_of_a_span_that_lies_nowhere_are_refused(path, make, bounds):
    stream = make(make_store(path, {"a": 5}).stream())
    with pytest.raises(StoreError, match=r"rows of \[.*nan.* expected numbers of seconds"):
        stream.read("a", *bounds)


def test_what_was_read_may_be_changed_and_is_nobody_elses(path):
    stream = make_store(path, {"a": 5}).stream()
    rows = stream.read("a")
    rows.times_R2[:] = 7
    rows.values[:] = 7
    stream.times("a")[:] = 8
    np.testing.assert_array_equal(stream.times("a"), make_times(5))
    np.testing.assert_array_equal(stream.read("a").values, make_rows(5))
