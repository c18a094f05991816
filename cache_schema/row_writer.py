"""Rows of one's own in a store: the recipe, the record and the times of what others made.

Nothing in an array of features says how its rows lie in time, so whoever writes them does: frames
per second the network was shown, frames per row, frames between rows. The stream is marked
``imported``, and its recipe says ``unknown`` wherever nobody knows.

Shapes: R rows of one video, D feature dim, N tokens per row, 2 start and end seconds.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cache_schema.errors import ConfigError, StoreError
from cache_schema.layout import STORED_DTYPE
from cache_schema.place import Place, to_place
from cache_schema.recipe import UNKNOWN, EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord
from cache_schema.store import StreamWriter, create_store, open_store, store_exists
from cache_schema.stored_numbers import Array, are_finite, as_stored
from cache_schema.timeline import RowClock, first_bad_time
from cache_schema.writing.closing import ClosedOnExit
from cache_schema.writing.pending import check_record, check_same_stream, check_stream_name

__all__ = [
    "RowWriter",
    "checked_rows",
    "checked_times",
    "imported_recipe",
    "imported_times",
    "imported_video",
]


def imported_recipe(
    name: str,
    *,
    fps: Fraction | float | str | None,
    window_frames: int = 1,
    stride_frames: int = 1,
    store_dtype: Literal["float16", "bfloat16", "float32"] = "float16",
) -> Recipe:
    """Return the recipe of features that were made elsewhere.

    Args:
        name: Of the stream: letters, digits, ``.``, ``_`` and ``-``.
        fps: Frames per second of video time that the network was shown, for example 15 or
            ``"30000/1001"``; None if the rows have times of their own, which then come with each
            video.
        window_frames: Frames that made one row.
        stride_frames: Frames between the starts of consecutive rows.
        store_dtype: Of the stored features.

    Raises:
        ConfigError: if the name is none of a stream, a number is out of its range, or nothing is
            stored in the dtype.
    """
    check_stream_name(name)
    if store_dtype not in STORED_DTYPE:
        raise ConfigError(
            f"stream '{name}': store_dtype is {store_dtype!r}, expected one of "
            f"{', '.join(STORED_DTYPE)}."
        )
    try:
        sampling = SamplingRecipe(
            # A float is meant as it is written: 0.1 is a tenth.
            fps=None if fps is None else Fraction(str(fps)),
            frames_per_window=window_frames,
            stride_frames=stride_frames,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"stream '{name}': fps {fps}, window_frames {window_frames}, stride_frames "
            f"{stride_frames}: fps must be a positive number such as 15 or '30000/1001', the "
            "others whole numbers of at least 1."
        ) from error
    return Recipe(
        origin="imported",
        encoder=EncoderRecipe(
            id=name, weights_sha256=UNKNOWN, compute_dtype="unknown", pooling="unknown"
        ),
        sampling=sampling,
        preprocess=None,
        decoder=None,
        store_dtype=store_dtype,
    )


def imported_times(recipe: Recipe, num_rows: int) -> NDArray[np.float64]:
    """Return (R, 2) seconds of rows that follow one another as the recipe says, from 0 on."""
    return RowClock(recipe.sampling, end_seconds=math.inf).times(0, num_rows)


def imported_video(
    video_id: str,
    recipe: Recipe,
    times_R2: NDArray[np.float64],
    *,
    path: str = "",
    size_bytes: int = 0,
) -> VideoRecord:
    """Return the record of a video of which only rows and their times are known.

    Args:
        video_id: Unique in the stream.
        recipe: Of the stream.
        times_R2: Start and end second of each row.
        path: Where the rows, or the video, came from.
        size_bytes: Of that file.

    Raises:
        ValueError: if the rows end so early that they have no rate.
    """
    sampling, end_seconds = recipe.sampling, float(times_R2[-1, 1])
    return VideoRecord(
        id=video_id,
        path=path,
        digest=UNKNOWN,
        size_bytes=size_bytes,
        duration_seconds=end_seconds,
        fps=sampling.fps or _mean_fps(len(times_R2), end_seconds),
        num_frames=(len(times_R2) - 1) * sampling.stride_frames + sampling.frames_per_window,
        width=0,
        height=0,
        decoder="imported",
        padded_frames=0,
    )


def _mean_fps(num_rows: int, end_seconds: float) -> Fraction:
    rate = num_rows / end_seconds
    if math.isinf(rate):
        raise ValueError(f"its {num_rows} rows end at {end_seconds} s, which is no video's length")
    return Fraction(rate).limit_denominator(1001)


def checked_rows(values: Array, store_dtype: str) -> Array:
    """Return rows as they are stored.

    Raises:
        ValueError: if they are no (R, D) or (R, N, D) finite numbers that fit the dtype.
    """
    if values.dtype.kind != "f":
        raise ValueError(f"holds {values.dtype}, expected an array of floating point numbers")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(
            f"has shape {values.shape}, expected (rows, dim) or (rows, tokens, dim), nothing empty"
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).reshape(len(values), -1).all(axis=1)).sum())
        raise ValueError(f"{bad} of {len(values)} rows hold NaN or infinity")
    stored = as_stored(values, store_dtype)
    if not are_finite(stored, store_dtype):
        raise ValueError(
            f"values up to {np.abs(values).max():g} do not fit {store_dtype}; choose float32"
        )
    return stored


class RowWriter(ClosedOnExit):
    """Writes videos into one stream of a store, with rows that were made elsewhere.

    Each ``write`` commits its video: it is durable, visible to readers, and never changes again.
    Use it in a ``with`` statement.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.zarr")
    >>> with RowWriter(path, imported_recipe("i3d", fps=15, window_frames=16)) as writer:
    ...     writer.write("kitchen/0007", np.ones((3, 1024), np.float32))
    >>> open_store(path).stream("i3d").times("kitchen/0007")[0].round(3).tolist()
    [0.0, 1.067]
    """

    def __init__(self, path: str | Place, recipe: Recipe) -> None:
        """Open a stream for writing; it is made with the first video.

        Args:
            path: The store, ``.zarr``, ``.h5`` or an address; made if it is not there. Any number
                of processes may write to a ``.zarr`` store at a time, one to an ``.h5`` file.
            recipe: By ``imported_recipe``; the stream has the name given there.

        Raises:
            RecipeMismatchError: if the store has a stream of this name with another recipe.
            StoreError: if there is something else at ``path``.
        """
        self._path = to_place(path)
        self._recipe = recipe
        self._name = recipe.encoder.id
        held = open_store(self._path).streams.get(self._name) if store_exists(self._path) else None
        if held is not None:
            check_same_stream(str(path), held, recipe, held.row_shape)
        self._video_ids = set(held.video_ids) if held else set()
        self._store = create_store(self._path)
        self._stream: StreamWriter | None = None
        self._is_closed = False

    def __contains__(self, video_id: object) -> bool:
        """Tell whether the stream held a video when it was opened, or has got it since."""
        return video_id in self._video_ids

    def write(
        self,
        video_id: str,
        rows: Array,
        times_R2: ArrayLike | None = None,
        *,
        path: str | Path = "",
    ) -> None:
        """Write all rows of a video and commit it.

        Args:
            video_id: Not yet in the stream. Best the path of the video below its folder, without
                suffix: then annotations find it.
            rows: (R, D) or (R, N, D) floating point numbers.
            times_R2: Start and end second of each row, from the video's start; None if they follow
                from the recipe.
            path: Where the video lies, for those who look at the store later.

        Raises:
            StoreError: if the rows or times cannot be stored, the video is there already, or the
                writer is closed.
        """
        if self._is_closed:
            raise StoreError(
                f"{self._path}: video {video_id!r} came behind the end of its writer, which is "
                "closed. Write within the 'with' block, or open another RowWriter."
            )
        self._check_is_text(video_id)
        if video_id in self:
            raise StoreError(
                f"{self._path}: '{video_id}' is in stream '{self._name}' already, and what is "
                "committed never changes. Ask `video_id in writer` before, or take another name."
            )
        try:
            stored = checked_rows(np.asarray(rows), self._recipe.store_dtype)
            times = self._times(len(stored), times_R2)
            video = imported_video(video_id, self._recipe, times, path=str(path))
        except ValueError as error:
            raise StoreError(f"{self._path}: video {video_id!r}: {error}.") from error
        check_record(str(self._path), video)
        self._commit(self._writer(stored.shape[1:]), stored, video, times)
        self._video_ids.add(video_id)

    def close(self) -> None:
        """Finish the part; done by leaving the ``with`` block."""
        if not self._is_closed:
            self._is_closed = True
            self._store.close()

    def _check_is_text(self, video_id: object) -> None:
        if not isinstance(video_id, str):
            kind = type(video_id).__name__
            raise StoreError(
                f"{self._path}: the id of a video is {video_id!r}, a {kind}, expected text such as "
                "'kitchen/0007'. Give its str()."
            )

    def _commit(
        self, stream: StreamWriter, rows: Array, video: VideoRecord, times_R2: NDArray[np.float64]
    ) -> None:
        """Write a video whole or not at all: rows of a failed one must not meet the next."""
        try:
            stream.append(rows, are_finite=True)  # so says checked_rows
            stream.commit(video, times_R2)
        except BaseException:
            stream.abandon()
            raise

    def _writer(self, row_shape: tuple[int, ...]) -> StreamWriter:
        if self._stream is None:
            self._stream = self._store.stream(self._name, self._recipe, row_shape)
        return self._stream

    def _times(self, num_rows: int, given: ArrayLike | None) -> NDArray[np.float64]:
        if given is not None:
            return checked_times(np.asarray(given, np.float64), num_rows)
        if self._recipe.sampling.fps is None:
            raise ValueError("no times were given, and without fps they follow from nothing")
        return imported_times(self._recipe, num_rows)


def checked_times(times_R2: NDArray[np.float64], num_rows: int) -> NDArray[np.float64]:
    """Return the times if they are as the format asks (docs/format.md, section 1).

    Raises:
        ValueError: if they are not.
    """
    if times_R2.shape != (num_rows, 2):
        raise ValueError(f"times have shape {times_R2.shape}, expected ({num_rows}, 2)")
    if first_bad_time(times_R2) is not None or times_R2[0, 0] < 0:
        raise ValueError(
            "times must be finite seconds from the video's start, each start before its end, and "
            "neither starts nor ends may decrease from row to row"
        )
    return times_R2
