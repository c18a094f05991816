# ruff: noqa: D102 - the name of a contract test is its description
"""For tests of any package: a small valid store, and the contract every backend must keep.

Needs pytest, which only the ``dev`` extra installs.
"""

import pickle
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from cache_schema.errors import ConfigError, RecipeMismatchError, StoreError, StoreNotFoundError
from cache_schema.layout import STORED_DTYPE
from cache_schema.place import Place
from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord
from cache_schema.store import Store, create_store, open_store
from cache_schema.stored_numbers import Array, as_float32

__all__ = ["StoreContract", "add_video", "make_recipe", "make_rows", "make_store", "make_video"]

StoreDtype = Literal["float16", "bfloat16", "float32"]


def make_recipe(
    *, encoder_id: str = "tiny", fps: Fraction = Fraction(2), store_dtype: StoreDtype = "float16"
) -> Recipe:
    """Return a recipe with one frame per row."""
    return Recipe(
        origin="extracted",
        encoder=EncoderRecipe(
            id=encoder_id, weights_sha256="0" * 64, compute_dtype="float32", pooling="default"
        ),
        sampling=SamplingRecipe(fps=fps, frames_per_window=1, stride_frames=1),
        preprocess=None,
        decoder=None,
        store_dtype=store_dtype,
    )


def make_video(video_id: str, *, num_rows: int = 1, fps: Fraction = Fraction(2)) -> VideoRecord:
    """Return the record of a video that has ``num_rows`` rows at ``fps`` rows per second."""
    return VideoRecord(
        id=video_id,
        path=f"videos/{video_id}.mp4",
        digest=f"digest of {video_id}",
        size_bytes=1000,
        duration_seconds=float(num_rows / fps),
        fps=Fraction(30),
        num_frames=num_rows,
        width=64,
        height=48,
        decoder="none 1.0",
        padded_frames=0,
    )


def make_rows(
    num_rows: int, row_shape: tuple[int, ...] = (4,), *, seed: int = 0, dtype: str = "float16"
) -> Array:
    """Return (num_rows, *row_shape) normal values as they are stored; bfloat16 as uint16 bits."""
    values = np.random.default_rng(seed).standard_normal((num_rows, *row_shape), dtype=np.float32)
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(STORED_DTYPE[dtype])


def make_times(num_rows: int, fps: Fraction = Fraction(2)) -> NDArray[np.float64]:
    """Return (num_rows, 2) seconds of rows that follow one another without a gap."""
    edges = np.arange(num_rows + 1) / float(fps)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def make_store(
    path: str | Place,
    videos: Mapping[str, int] | None = None,
    *,
    stream: str = "tiny",
    row_shape: tuple[int, ...] = (4,),
    fps: Fraction = Fraction(2),
    store_dtype: StoreDtype = "float16",
) -> Store:
    """Write a small store, one stream and one part, and return it open for reading.

    Args:
        path: Ends in ``.zarr`` or ``.h5``, or an address.
        videos: Rows of each video by its id.
        stream: Name of the stream.
        row_shape: ``(dim,)`` or ``(tokens, dim)``.
        fps: Rows per second.
        store_dtype: Of the features, which are normal and differ from video to video.
    """
    writer = create_store(path)
    recipe = make_recipe(encoder_id=stream, fps=fps, store_dtype=store_dtype)
    stream_writer = writer.stream(stream, recipe, row_shape)
    for seed, (video_id, num_rows) in enumerate((videos or {"a": 5, "b/c": 70}).items()):
        values = make_rows(num_rows, row_shape, seed=seed, dtype=store_dtype)
        stream_writer.append(values)
        stream_writer.commit(
            make_video(video_id, num_rows=num_rows, fps=fps), make_times(num_rows, fps)
        )
    writer.close()
    return open_store(path)


def add_video(writer: Any, video_id: str, values: Array) -> None:  # noqa: ANN401 - any backend's
    """Append and commit one video at two rows per second."""
    writer.append(values)
    writer.commit(make_video(video_id, num_rows=len(values)), make_times(len(values)))


class StoreContract:
    """What every backend does. Subclass it as ``TestX``; set ``suffix``, or override ``path``."""

    suffix: ClassVar[str] = ""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Where the store of a test lies."""
        return tmp_path / f"store{self.suffix}"

    def test_a_video_is_visible_once_committed_and_not_before(self, path: Place) -> None:
        writer = create_store(path)
        stream = writer.stream("tiny", make_recipe(), (4,))
        stream.append(make_rows(3))
        assert open_store(path).stream("tiny").video_ids == []
        stream.append(make_rows(2, seed=1))
        stream.commit(make_video("a"), make_times(5))
        found = open_store(path).stream("tiny").read("a")
        np.testing.assert_array_equal(
            found.values, np.concatenate([make_rows(3), make_rows(2, seed=1)])
        )
        np.testing.assert_array_equal(found.times_R2[:, 1], [0.5, 1.0, 1.5, 2.0, 2.5])
        writer.close()

    def test_abandoned_and_uncommitted_rows_leave_no_trace(self, path: Place) -> None:
        writer = create_store(path)
        stream = writer.stream("tiny", make_recipe(), (4,))
        stream.append(make_rows(100, seed=1))
        stream.abandon()
        add_video(stream, "a", make_rows(3))
        stream.append(make_rows(100, seed=2))
        stream.abandon()
        add_video(stream, "b", make_rows(2, seed=3))
        stream.append(make_rows(100, seed=4))
        writer.close()
        found = open_store(path).stream()
        assert (found.video_ids, found.num_rows) == (["a", "b"], 5)
        np.testing.assert_array_equal(found.read("b").values, make_rows(2, seed=3))

    def test_one_store_holds_several_streams(self, path: Place) -> None:
        writer = create_store(path)
        first = writer.stream("one", make_recipe(encoder_id="one"), (4,))
        add_video(first, "a", make_rows(3))
        second = writer.stream("two", make_recipe(encoder_id="two"), (2, 3))
        add_video(second, "a", make_rows(3, (2, 3)))
        add_video(first, "b", make_rows(2, seed=1))
        writer.close()
        store = open_store(path)
        assert {name: s.video_ids for name, s in store.streams.items()} == {
            "one": ["a", "b"],
            "two": ["a"],
        }
        np.testing.assert_array_equal(store.stream("two").read("a").values, make_rows(3, (2, 3)))
        np.testing.assert_array_equal(store.stream("one").read("b").values, make_rows(2, seed=1))

    def test_a_stream_keeps_the_source_of_the_encoder_it_was_made_with(self, path: Place) -> None:
        with create_store(path) as writer:
            noted = writer.stream("one", make_recipe(), (4,), encoder_source="/models/ä")
            add_video(noted, "a", make_rows(3))
            writer.stream("two", make_recipe(), (4,))
        with create_store(path) as writer:
            again = writer.stream("one", make_recipe(), (4,), encoder_source="/moved")
            add_video(again, "b", make_rows(3))
        found = {name: one.encoder_source for name, one in open_store(path).streams.items()}
        assert found == {"one": "/models/ä", "two": ""}

    @pytest.mark.parametrize(
        ("start", "end", "rows"),
        [
            (None, None, (0, 6)),
            (1.0, 2.0, (2, 4)),
            (1.2, 1.3, (2, 3)),
            (2.5, 99, (5, 6)),
            (9, 10, (6, 6)),
        ],
    )
    def test_reads_the_rows_that_overlap_a_span_of_seconds(
        self, path: Place, start: float | None, end: float | None, rows: tuple[int, int]
    ) -> None:
        stream = make_store(path, {"z": 4, "a": 6}).stream()
        found = stream.read("a", start, end)
        np.testing.assert_array_equal(found.values, make_rows(6, seed=1)[slice(*rows)])
        np.testing.assert_array_equal(found.times_R2, make_times(6)[slice(*rows)])

    @pytest.mark.parametrize("store_dtype", ["float16", "bfloat16", "float32"])
    @pytest.mark.parametrize("row_shape", [(4,), (3, 5)])
    def test_windows_equal_naive_slices(
        self, path: Place, store_dtype: StoreDtype, row_shape: tuple[int, ...]
    ) -> None:
        lengths = {"a": 130, "b": 1, "c": 64}
        stream = make_store(path, lengths, row_shape=row_shape, store_dtype=store_dtype).stream()
        rows = {
            video: make_rows(n, row_shape, seed=seed, dtype=store_dtype)
            for seed, (video, n) in enumerate(lengths.items())
        }
        windows = [("a", 0, 8), ("c", 60, 4), ("b", 0, 1), ("a", 122, 8), ("a", 60, 0)]
        out = np.full((5, 8, *row_shape), 7, stream.numpy_dtype)
        stream.read_windows(windows, out)
        for got, (video, first, count) in zip(out, windows, strict=True):
            np.testing.assert_array_equal(got[:count], rows[video][first : first + count])
            assert not got[count:].any()

    def test_bfloat16_bits_become_the_same_float32(self, path: Place) -> None:
        writer = create_store(path)
        stream = writer.stream("tiny", make_recipe(store_dtype="bfloat16"), (3,))
        add_video(stream, "a", np.array([[0x3F80, 0xC000, 0x3E80]], np.uint16))
        writer.close()
        values = as_float32(open_store(path).stream().read("a").values, "bfloat16")
        assert values.tolist() == [[1.0, -2.0, 0.25]]

    def test_a_store_is_reopened_and_appended_to(self, path: Place) -> None:
        make_store(path, {"a": 70})
        writer = create_store(path)
        add_video(writer.stream("tiny", make_recipe(), (4,)), "b", make_rows(70, seed=5))
        writer.close()
        stream = open_store(path).stream()
        assert stream.video_ids == ["a", "b"]
        np.testing.assert_array_equal(stream.read("a").values, make_rows(70))
        np.testing.assert_array_equal(stream.read("b").values, make_rows(70, seed=5))

    def test_a_video_committed_twice_counts_once_and_the_first_wins(self, path: Place) -> None:
        make_store(path, {"a": 5})
        writer = create_store(path)
        add_video(writer.stream("tiny", make_recipe(), (4,)), "a", make_rows(9, seed=9))
        writer.close()
        stream = open_store(path).stream()
        assert (stream.video_ids, stream.num_rows) == (["a"], 5)
        np.testing.assert_array_equal(stream.read("a").values, make_rows(5))

    def test_a_store_and_its_opened_rows_can_be_pickled(self, path: Place) -> None:
        store = make_store(path)
        store.stream().read("a")
        copy = pickle.loads(pickle.dumps(store))
        np.testing.assert_array_equal(copy.stream().read("a").values, make_rows(5))

    def test_a_reader_keeps_its_rows_while_the_writer_goes_on(self, path: Place) -> None:
        writer = create_store(path)
        stream = writer.stream("tiny", make_recipe(), (4,))
        add_video(stream, "a", make_rows(5))
        before = open_store(path).stream()
        add_video(stream, "b", make_rows(5000, seed=1))
        assert before.video_ids == ["a"]
        np.testing.assert_array_equal(before.read("a").values, make_rows(5))
        np.testing.assert_array_equal(
            open_store(path).stream().read("b").values, make_rows(5000, seed=1)
        )
        writer.close()

    def test_an_unknown_video_is_named_with_the_nearest(self, path: Place) -> None:
        stream = make_store(path, {"video_1": 3}).stream()
        with pytest.raises(StoreError, match=r"no video 'vidio_1' .* Did you mean 'video_1'\?"):
            stream.read("vidio_1")

    @pytest.mark.parametrize(("first", "count"), [(-1, 2), (3, 3), (6, 1)])
    def test_a_window_outside_its_video_is_refused(
        self, path: Place, first: int, count: int
    ) -> None:
        stream = make_store(path, {"a": 5, "b": 5}).stream()
        with pytest.raises(StoreError, match=r"leaves its 5 rows"):
            stream.read_windows([("a", first, count)], np.empty((1, 8, 4), np.float16))

    @pytest.mark.parametrize("values", [np.zeros((2, 4)), np.zeros((2, 5), np.float16)])
    def test_rows_of_another_dtype_or_shape_are_refused(
        self, path: Place, values: NDArray[np.generic]
    ) -> None:
        stream = create_store(path).stream("tiny", make_recipe(), (4,))
        with pytest.raises(StoreError, match=r"got rows of float.*expected float16 \(4,\)"):
            stream.append(values)

    def test_a_commit_without_rows_is_refused(self, path: Place) -> None:
        stream = create_store(path).stream("tiny", make_recipe(), (4,))
        with pytest.raises(StoreError, match="'a' has 0 rows"):
            stream.commit(make_video("a"), make_times(0))

    def test_a_commit_with_too_few_times_is_refused(self, path: Place) -> None:
        stream = create_store(path).stream("tiny", make_recipe(), (4,))
        stream.append(make_rows(3))
        with pytest.raises(StoreError, match=r"'a' has 3 rows and times \(2, 2\)"):
            stream.commit(make_video("a"), make_times(2))

    def test_a_stream_takes_no_rows_of_another_recipe_or_shape(self, path: Place) -> None:
        make_store(path)
        writer = create_store(path)
        with pytest.raises(RecipeMismatchError, match=r"sampling\.fps = 2, not 4"):
            writer.stream("tiny", make_recipe(fps=Fraction(4)), (4,))
        with pytest.raises(StoreError, match=r"holds rows \(4,\), got \(5,\)"):
            writer.stream("tiny", make_recipe(), (5,))
        writer.close()

    def test_an_open_writer_takes_no_other_recipe_or_shape_either(self, path: Place) -> None:
        with create_store(path) as writer:
            writer.stream("tiny", make_recipe(), (4,))
            with pytest.raises(RecipeMismatchError, match=r"sampling\.fps = 2, not 4"):
                writer.stream("tiny", make_recipe(fps=Fraction(4)), (4,))
            with pytest.raises(StoreError, match=r"holds rows \(4,\), got \(5,\)"):
                writer.stream("tiny", make_recipe(), (5,))

    def test_a_writer_is_closed_at_the_end_of_its_block(self, path: Place) -> None:
        with suppress(ZeroDivisionError), create_store(path) as writer:
            stream = writer.stream("tiny", make_recipe(), (4,))
            add_video(stream, "a", make_rows(3))
            stream.append(make_rows(2))
            raise ZeroDivisionError
        with create_store(path) as writer:  # a writer left open would keep HDF5's lock
            add_video(writer.stream("tiny", make_recipe(), (4,)), "b", make_rows(2, seed=1))
        assert open_store(path).stream().video_ids == ["a", "b"]

    @pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "ä"])
    def test_a_stream_name_never_becomes_another_path(self, path: Place, name: str) -> None:
        writer = create_store(path)
        with pytest.raises(ConfigError, match="stream name"):
            writer.stream(name, make_recipe(), (4,))
        writer.close()

    def test_a_missing_store_says_how_to_make_one(self, path: Place) -> None:
        with pytest.raises(StoreNotFoundError, match=r"no such store. Make one"):
            open_store(path)
