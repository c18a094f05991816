from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from cache_schema import (
    ConfigError,
    RecipeMismatchError,
    RowWriter,
    StoreError,
    as_float32,
    as_stored,
    imported_recipe,
    open_store,
)
from cache_schema.proof.verify import verify_store
from cache_schema.writing import pending

I3D = imported_recipe("i3d", fps=15, window_frames=16, stride_frames=8)


def features(num_rows=3, dim=4):
    return np.arange(num_rows * dim, dtype=np.float32).reshape(num_rows, dim)


@pytest.fixture(params=[".zarr", ".h5"])
def path(request, tmp_path):
    return tmp_path / f"mine{request.param}"


def test_rows_get_the_times_of_the_declared_time_base(path):
    with RowWriter(path, I3D) as writer:
        writer.write("kitchen/a", features(), path="videos/kitchen/a.mp4")
    stream = open_store(path).stream("i3d")
    rows = stream.read("kitchen/a")
    np.testing.assert_array_equal(rows.float32, features())
    np.testing.assert_allclose(
        rows.times_R2, [[0, 16 / 15], [8 / 15, 24 / 15], [16 / 15, 32 / 15]], rtol=1e-15
    )
    video = stream.commit("kitchen/a").video
    assert (video.path, video.digest, video.decoder) == (
        "videos/kitchen/a.mp4",
        "unknown",
        "imported",
    )
    assert (video.num_frames, video.fps, video.duration_seconds) == (32, 15, 32 / 15)
    assert verify_store(path).problems == []


def test_rows_may_come_with_times_of_their_own(path):
    times = [[0.0, 1.5], [1.0, 4.0]]
    with RowWriter(path, imported_recipe("shots", fps=None)) as writer:
        writer.write("a", features(2), times)
    stream = open_store(path).stream()
    assert stream.times("a").tolist() == times
    assert stream.commit("a").video.fps == Fraction(1, 2)
    assert verify_store(path).problems == []


def test_a_writer_tells_what_is_there_and_writes_nothing_twice(path):
    with RowWriter(path, I3D) as writer:
        writer.write("a", features())
        assert "a" in writer
    with RowWriter(path, I3D) as writer:
        assert "a" in writer
        assert "b" not in writer
        with pytest.raises(StoreError, match=r"'a' is in stream 'i3d' already"):
            writer.write("a", features(9))
        writer.write("b", features(2))
    stream = open_store(path).stream()
    assert {name: len(stream.read(name)) for name in stream.video_ids} == {"a": 3, "b": 2}


def test_a_stream_made_another_way_is_refused_at_once(path):
    with RowWriter(path, I3D) as writer:
        writer.write("a", features())
    with pytest.raises(RecipeMismatchError, match=r"sampling\.fps = 15, not 25"):
        RowWriter(path, imported_recipe("i3d", fps=25, window_frames=16, stride_frames=8))


@pytest.mark.parametrize(
    ("rows", "times", "message"),
    [
        (np.zeros((3, 4), np.int64), None, "holds int64, expected an array of floating"),
        (np.zeros(4), None, r"has shape \(4,\), expected \(rows, dim\)"),
        (np.zeros((0, 4)), None, r"has shape \(0, 4\)"),
        (np.array([[1.0, np.nan], [1, 2]]), None, "1 of 2 rows hold NaN or infinity"),
        (np.array([[1.0, 1e6]]), None, r"values up to 1e\+06 do not fit float16"),
        (features(2), [[0, 1]], r"times have shape \(1, 2\), expected \(2, 2\)"),
        (features(2), [[0, 1], [1, 1]], "each start before its end"),
        (features(2), [[1, 2], [0, 3]], "neither starts nor ends may decrease"),
        (features(2), [[0, 3], [1, 2]], "neither starts nor ends may decrease"),
        (features(2), [[0, 1], [1, np.inf]], "times must be finite seconds"),
        (features(2), [[-2, -1], [-1, 0]], "from the video's start"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_no_trace(tmp_path, rows, times, message):
    with RowWriter(tmp_path / "mine.zarr", I3D) as writer:
        with pytest.raises(StoreError, match=rf"video 'bad': .*{message}"):
            writer.write("bad", rows, times)
        writer.write("good", features())
    stream = open_store(tmp_path / "mine.zarr").stream()
    assert (stream.video_ids, stream.num_rows) == (["good"], 3)


def test_rows_of_another_width_are_refused_and_the_next_video_goes_on(path):
    with RowWriter(path, I3D) as writer:
        writer.write("a", features())
        with pytest.raises(StoreError, match=r"got \(5,\)|expected float16 \(4,\)"):
            writer.write("b", features(dim=5))
        writer.write("b", features(2))
    stream = open_store(path).stream()
    np.testing.assert_array_equal(stream.read("b").float32, features(2))
    assert verify_store(path).problems == []


def test_times_that_follow_from_nothing_must_be_given(tmp_path):
    writer = RowWriter(tmp_path / "mine.zarr", imported_recipe("shots", fps=None))
    with writer, pytest.raises(StoreError, match="no times were given"):
        writer.write("a", features())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a/b", {"fps": 15}),
        ("i3d", {"fps": 0}),
        ("i3d", {"fps": "fast"}),
        ("i3d", {"fps": "1/0"}),
        ("i3d", {"fps": 15, "window_frames": 0}),
        ("i3d", {"fps": 15, "store_dtype": "float64"}),
        ("i3d", {"fps": 15, "store_dtype": None}),
        (5, {"fps": 15}),
        (None, {"fps": 15}),
    ],
)
def test_a_recipe_of_impossible_numbers_is_refused(name, settings):
    with pytest.raises(ConfigError, match=str(name)):
        imported_recipe(name, **settings)


def test_a_rate_is_meant_as_it_is_written():
    rates = [imported_recipe("i3d", fps=fps).sampling.fps for fps in (0.1, "30000/1001", 15)]
    assert rates == [Fraction(1, 10), Fraction(30000, 1001), 15]


@pytest.mark.parametrize("store_dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64])
def test_numbers_are_rounded_as_torch_rounds_them(store_dtype, given):
    numbers = np.random.default_rng(0).standard_normal(5000)
    ties = 1 + np.arange(64) / 256  # halfway between bfloat16 numbers, and numbers themselves
    values = np.concatenate([numbers, ties, -ties, [0.0, -0.0, 65504.0]]).astype(given)
    expected = torch.from_numpy(values).to(getattr(torch, store_dtype)).float().numpy()
    stored = as_stored(values, store_dtype)
    np.testing.assert_array_equal(as_float32(stored, store_dtype), expected)


@pytest.mark.parametrize(
    ("video_id", "message"),
    [
        (Path("a/b"), r"id of a video is PosixPath\('a/b'\), a PosixPath, expected text"),
        (7, "id of a video is 7, a int, expected text"),
        (None, "id of a video is None"),
        (b"x", "id of a video is b'x'"),
        (["x"], r"id of a video is \['x'\]"),
        ("caf\udce9", r"video 'caf\\udce9': its id is 'caf\\udce9', which is not valid UTF-8"),
    ],
)
def test_an_id_that_is_no_text_is_refused_and_the_next_video_goes_on(path, video_id, message):
    with RowWriter(path, I3D) as writer:
        with pytest.raises(StoreError, match=message):
            writer.write(video_id, features())
        writer.write("a", features(2))
    stream = open_store(path).stream()
    assert (stream.video_ids, stream.num_rows) == (["a"], 2)


def test_a_path_that_is_no_utf8_is_refused_before_anything_is_written(path):
    with RowWriter(path, I3D) as writer:
        with pytest.raises(StoreError, match=r"video 'a': its path is 'caf\\udce9\.mp4'"):
            writer.write("a", features(), path="caf\udce9.mp4")
        assert open_store(path).streams == {}
        writer.write("a", features(2))
    assert open_store(path).stream().num_rows == 2


def test_rows_that_end_at_once_have_no_rate(path):
    with RowWriter(path, imported_recipe("shots", fps=None)) as writer:
        with pytest.raises(StoreError, match=r"video 'a': its 1 rows end at 1e-320 s"):
            writer.write("a", features(1), [[0, 1e-320]])
        writer.write("a", features(2), [[0, 1], [1, 2]])
    assert open_store(path).stream().num_rows == 2


def test_a_video_whose_commit_fails_leaves_nothing_to_the_next(path, monkeypatch):
    with RowWriter(path, I3D) as writer:
        writer.write("a", features())
        with monkeypatch.context() as patch:
            patch.setattr(pending, "encode_line", lambda commit: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                writer.write("b", features(5))
        writer.write("c", features(2))
    stream = open_store(path).stream()
    assert {name: len(stream.read(name)) for name in stream.video_ids} == {"a": 3, "c": 2}
    assert verify_store(path).problems == []


def test_a_closed_writer_takes_no_more(path):
    with RowWriter(path, I3D) as writer:
        writer.write("a", features())
    with pytest.raises(StoreError, match=r"video 'b' came behind the end of its writer"):
        writer.write("b", features())
    writer.close()
    assert open_store(path).stream().video_ids == ["a"]
