"""What every backend's writer does alike: check names and rows, and sum rows up for the journal."""

import math
import operator
import re
from collections.abc import Iterable
from contextlib import suppress

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache_schema import layout
from cache_schema.errors import ConfigError, RecipeMismatchError, StoreError
from cache_schema.parsing import differences
from cache_schema.recipe import Recipe
from cache_schema.records import Commit, VideoRecord, encode_line
from cache_schema.stored_numbers import Array, num_not_finite
from cache_schema.stream import Stream
from cache_schema.timeline import first_bad_time

__all__ = [
    "PendingVideo",
    "check_record",
    "check_same_stream",
    "check_stream_name",
    "checked_row_shape",
]

COUNTS = ("size_bytes", "num_frames", "width", "height", "padded_frames")
STREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class PendingVideo:
    """The rows appended since the last commit: checked, counted and summed up."""

    def __init__(self, where: str, row_shape: tuple[int, ...], store_dtype: str) -> None:
        self.num_rows = 0
        self._where = where
        self._row_shape = row_shape
        self._store_dtype = store_dtype
        self._dtype = np.dtype(layout.STORED_DTYPE[store_dtype])
        self._features_crc32c = 0

    def checked(self, values: Array, *, are_finite: bool) -> Array:
        """Return rows that may be written, contiguous and little-endian.

        Args:
            values: (rows, *row_shape) in the stored dtype; there may be none.
            are_finite: Whether somebody has made sure of that.

        Raises:
            StoreError: on another dtype or shape than the stream's, or NaN or infinity.
        """
        if values.dtype != self._dtype or values.shape[1:] != self._row_shape:
            raise StoreError(
                f"{self._where}: got rows of {values.dtype} {values.shape[1:]}, expected "
                f"{self._dtype} {self._row_shape}."
            )
        if not are_finite and (bad := num_not_finite(values, self._store_dtype)):
            raise StoreError(
                f"{self._where}: {bad} of {len(values)} rows hold NaN or infinity, expected finite "
                "numbers. Leave the video out, or choose a wider store_dtype."
            )
        return np.ascontiguousarray(values, self._dtype.newbyteorder("<"))

    def count(self, rows: Array) -> None:
        """Count rows that ``checked`` returned and that were written."""
        self._features_crc32c = google_crc32c.extend(self._features_crc32c, rows.tobytes())
        self.num_rows += len(rows)

    def check_times(self, video: VideoRecord, times_R2: Array) -> NDArray[np.float64]:
        """Return the times of these rows contiguous and little-endian; they stay if it raises.

        Raises:
            StoreError: if there is no row, their number is not that of the times, or the format
                cannot hold the times or the record.
        """
        check_record(self._where, video)
        if self.num_rows == 0 or times_R2.shape != (self.num_rows, 2):
            raise StoreError(
                f"{self._where}: video '{video.id}' has {self.num_rows} rows and times "
                f"{times_R2.shape}, expected at least one row and a start and an end for each."
            )
        plain_R2: NDArray[np.float64] = np.ascontiguousarray(times_R2, "<f8")
        check_order(f"{self._where}: video '{video.id}'", plain_R2)
        return plain_R2

    def line(self, video: VideoRecord, first_row: int, times_R2: NDArray[np.float64]) -> bytes:
        """Return the journal line of these rows, to be made before anything is written."""
        commit = Commit(
            video=video,
            first_row=first_row,
            num_rows=self.num_rows,
            features_crc32c=self._features_crc32c,
            time_crc32c=google_crc32c.value(times_R2.tobytes()),
        )
        return encode_line(commit)

    def clear(self) -> None:
        """Forget these rows."""
        self.num_rows = 0
        self._features_crc32c = 0


def check_order(where: str, times_R2: NDArray[np.float64]) -> None:
    """Raise unless readers can search these times.

    Raises:
        StoreError: naming the first row that they cannot.
    """
    if (row := first_bad_time(times_R2)) is not None:
        start, end = times_R2[row]
        raise StoreError(
            f"{where}: row {row} is [{start}, {end}), expected finite seconds, each start before "
            "its end, and neither starts nor ends that decrease from row to row."
        )


def check_record(where: str, video: VideoRecord) -> None:
    """Raise unless the format can hold what a store is to remember of a video.

    Raises:
        StoreError: if a text is not valid UTF-8, which are as a rule the bytes of a file's name, or
            a number is none that readers take.
    """
    for name in COUNTS:
        if not 0 <= (count := getattr(video, name)) <= layout.MOST:
            raise StoreError(
                f"{where}: video {video.id!a}: its {name} is {count}, expected an integer from 0 "
                f"to {layout.MOST}."
            )
    if not math.isfinite(video.duration_seconds):
        raise StoreError(
            f"{where}: video {video.id!a}: its duration_seconds are {video.duration_seconds}, "
            "expected a finite number."
        )
    for name in ("id", "path", "digest", "decoder"):
        text = getattr(video, name)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise StoreError(
                f"{where}: video {video.id!a}: its {name} is {text!a}, which is not valid UTF-8 "
                "and so nothing a store can hold. Rename the file, or give another id and path."
            ) from error


def check_stream_name(name: object) -> None:
    """Raise unless a name can be a folder of a Zarr store and a group of an HDF5 one.

    Raises:
        ConfigError: on anything but letters, digits, ``.``, ``_`` and ``-``.
    """
    if not (isinstance(name, str) and STREAM_NAME.fullmatch(name)):
        raise ConfigError(
            f"stream name {name!r}: expected letters, digits, '.', '_' and '-', the first of them "
            "a letter or digit."
        )


def checked_row_shape(name: str, row_shape: Iterable[int]) -> tuple[int, ...]:
    """Return a row shape as a stream's header holds it: numpy's integers become Python's.

    Args:
        name: Of the stream, for the message.
        row_shape: ``(dim,)`` or ``(tokens, dim)``.

    Raises:
        StoreError: if it is not one or two positive integers.
    """
    sizes: tuple[int, ...] = ()
    with suppress(TypeError):
        sizes = tuple(int(operator.index(size)) for size in row_shape)
    if len(sizes) not in (1, 2) or min(sizes) < 1:
        raise StoreError(
            f"stream '{name}': row_shape is {row_shape!r}, expected (dim,) or (tokens, dim), all "
            "positive integers. Flatten a grid of tokens to (tokens, dim)."
        )
    return sizes


def check_same_stream(
    where: str, stored: Stream, recipe: Recipe, row_shape: tuple[int, ...]
) -> None:
    """Raise unless rows of this recipe and shape may be added to a stream that is there.

    Raises:
        RecipeMismatchError: naming every field that differs.
        StoreError: on another row shape.
    """
    if fields := differences(stored.recipe, recipe):
        raise RecipeMismatchError(
            f"{where}: stream '{stored.name}' was made another way: {'; '.join(fields)}. "
            "Use the same settings, or another stream name."
        )
    if stored.row_shape != row_shape:
        raise StoreError(
            f"{where}: stream '{stored.name}' holds rows {stored.row_shape}, got {row_shape}."
        )
