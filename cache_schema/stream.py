"""Reading one stream: which videos it holds, their rows by time, and batches of windows.

Backends say where the rows of a part lie (``PartRows``); everything else is the same for all.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import ConfigError, StoreCorruptError, StoreError
from cache_schema.journal import Journal, Listed
from cache_schema.parsing import nearest
from cache_schema.recipe import Recipe
from cache_schema.records import Commit, VideoRecord
from cache_schema.stored_numbers import Array, as_float32
from cache_schema.timeline import count_rows
from cache_schema.video_names import without_video_suffix
from cache_schema.window_checks import check_batch, leaves_video, rows_within

__all__ = [
    "FeatureRows",
    "PartRows",
    "RowSpan",
    "Stream",
    "StreamPart",
    "as_source",
]

OnDamage = Callable[[StoreCorruptError], None]
"""What to do about a part whose journal is damaged; it is left out if this returns."""

PLACE_BITS = 32
PLACE_MASK = 2**PLACE_BITS - 1
"""Where a video is, as one number: that of its part, and of its line in the journal below."""

WARM_BYTES_PER_SECOND = 2.5e9
"""Batches read slower than this came from the disk: a memory copy is faster, a disk is not."""


def raise_damage(error: StoreCorruptError) -> None:
    """Refuse a store with a damaged part."""
    raise error


class PartRows(Protocol):
    """Rows of one part, wherever its bytes lie. Opened lazily, in the process that reads."""

    def copy_features(self, first_row: int, out: Array) -> None:
        """Fill ``out`` (rows, *row_shape) with the rows from ``first_row`` on."""

    def time(self, first_row: int, num_rows: int) -> NDArray[np.float64]:
        """Return (num_rows, 2) start and end seconds."""

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Tell the system that these (first_row, num_rows) are about to be read."""

    def fetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Begin to fetch what will be read later, if it is on another machine."""


@dataclass(frozen=True, kw_only=True)
class StreamPart:
    """One part: its id, its committed videos and its rows."""

    id: str
    commits: Journal
    rows: PartRows


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRows:
    """Rows of one video."""

    values: Array
    """(rows, *row_shape) in the stored dtype; bfloat16 as its uint16 bits."""
    times_R2: NDArray[np.float64]
    """Start and end second of each row."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def float32(self) -> NDArray[np.float32]:
        """The values as numbers to compute with, whatever they are stored as."""
        # Nothing else is stored as uint16.
        return as_float32(self.values, "bfloat16" if self.values.dtype == np.uint16 else "")


class RowSpan(NamedTuple):
    """Consecutive rows of one video."""

    video_id: str
    first_row: int
    """Counted from the video's first row."""
    num_rows: int


def as_source(stored: object) -> str:
    """Return what is stored as ``Stream.encoder_source``: no reader refuses a stream for it."""
    return stored if isinstance(stored, str) else ""


class Stream:
    """All committed rows of one recipe, as of the moment the store was opened.

    A video committed twice (a batch system ran one task twice) counts once: the copy in the part
    with the smallest id.
    """

    def __init__(
        self,
        name: str,
        recipe: Recipe,
        row_shape: tuple[int, ...],
        parts: Sequence[StreamPart],
        *,
        encoder_source: str = "",
        is_far: bool = False,
    ) -> None:
        self.name = name
        self.recipe = recipe
        self.row_shape = row_shape
        self.encoder_source = encoder_source
        """The name by which the encoder was loaded when the stream was made, a path made absolute;
        empty if nobody noted it."""
        self.is_far = is_far
        """Whether rows come from another machine, so that it pays to ask for them long before."""
        self.parts = sorted(parts, key=lambda part: part.id)
        self._is_cold = True
        # Numbers only: a million of anything else takes hundreds of megabytes.
        self._places: dict[str, int] = {}
        for number, part in reversed(list(enumerate(self.parts))):  # what comes first counts
            first, ids = number << PLACE_BITS, part.commits.ids
            self._places.update(
                zip(reversed(ids), reversed(range(first, first + len(ids))), strict=True)
            )

    @property
    def stored(self) -> "tuple[Stream, ...]":
        """The streams whose stored rows these are, or are made of, each once."""
        return (self,)

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature width of each stream that a row is put together of, in their order."""
        return (self.row_shape[-1],)

    @cached_property
    def video_ids(self) -> list[str]:
        """Ids of all videos, sorted."""
        return sorted(self._places)

    @cached_property
    def num_rows(self) -> int:
        """Rows of all videos together."""
        return sum(map(self.rows_of, self._places))

    def __repr__(self) -> str:
        rows = f"{self.num_rows:,} rows of {self.row_shape} {self.recipe.store_dtype}"
        return f"<Stream {self.name}: {len(self._places):,} videos, {rows}>"

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._places

    def videos(self) -> Iterator[VideoRecord]:
        """Yield the record of every video, sorted by id."""
        for video_id in self.video_ids:
            yield self.commit(video_id).video

    def commit(self, video_id: str) -> Commit:
        """Return a video's commit record, read from its journal.

        Raises:
            StoreError: if the stream does not hold the video, or the store was compacted since.
        """
        part, at = self._locate(video_id)
        return part.commits.commit(at)

    def rows_of(self, video_id: str) -> int:
        """Return the rows of one video, as ``commit`` does, but at once."""
        part, at = self._locate(video_id)
        return part.commits.num_rows[at]

    def size_bytes(self, video_id: str) -> int:
        """Return the size of a video's file, as ``commit`` does, but at once."""
        part, at = self._locate(video_id)
        return part.commits.size_bytes[at]

    def listing(self) -> Iterator[Listed]:
        """Yield id, rows, seconds, path and digest of every video, in no order.

        Ten times as fast as ``videos``.

        Raises:
            StoreError: if the store was compacted since it was opened.
        """
        for part in self.parts:
            for (_, counts), listed in zip(self.counted(part), part.commits.listing(), strict=True):
                if counts:
                    yield listed

    def part(self, video_id: str) -> StreamPart:
        """Return the part that holds a video's rows."""
        return self._locate(video_id)[0]

    def counted(self, part: StreamPart) -> Iterator[tuple[str, bool]]:
        """Yield the video of each commit of a part, and whether it is the one that readers see."""
        first = self.parts.index(part) << PLACE_BITS
        for place, video_id in enumerate(part.commits.ids, start=first):
            yield video_id, self._places[video_id] == place

    def resolve(self, name: str) -> str | None:
        """Return the id an annotation means: the id itself, or the only one it is short for.

        Where there is none, the name may have a video's suffix that the id lacks. None for none or
        several.
        """
        if name in self._places or name in self._by_short_name:
            return self.named(name)
        return self.named(without_video_suffix(name))

    def named(self, name: str) -> str | None:
        """Return the id that is a name, or the only one that the name is short for.

        That ends in ``/name``, or has ``/`` where the name has ``_``. None for none or several.
        """
        return name if name in self._places else self._by_short_name.get(name)

    def read(
        self,
        video_id: str,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> FeatureRows:
        """Return the rows of a video that overlap ``[start_seconds, end_seconds)``.

        Raises:
            StoreError: if the stream does not hold the video, or a bound is NaN.
            StoreCorruptError: if its rows are not there, or its times not those committed.
        """
        part, at = self._locate(video_id)
        times_R2 = self._times(part, at)
        first, last = rows_within(self.name, times_R2, start_seconds, end_seconds)
        values = np.empty((last - first, *self.row_shape), self.numpy_dtype)
        part.rows.copy_features(part.commits.first_rows[at] + first, values)
        return FeatureRows(values=values, times_R2=times_R2[first:last])

    def times(self, video_id: str) -> NDArray[np.float64]:
        """Return (rows, 2) start and end seconds of all rows of a video."""
        return self._times(*self._locate(video_id))

    def _times(self, part: StreamPart, at: int) -> NDArray[np.float64]:
        """Read all times of a video; features are too many for a checksum at each read."""
        commits = part.commits
        times_R2 = part.rows.time(commits.first_rows[at], commits.num_rows[at])
        checksum = google_crc32c.value(times_R2.astype("<f8", copy=False).tobytes())
        if checksum != commits.time_crc32c[at]:
            raise StoreCorruptError(
                f"stream '{self.name}': the stored times of '{commits.ids[at]}' are not those that "
                "were committed. Run vllm-store verify, and extract the video again."
            )
        return times_R2

    def windows(
        self,
        window_rows: int,
        *,
        stride_rows: int | None = None,
        video_ids: Iterable[str] | None = None,
    ) -> list[RowSpan]:
        """Return windows that show every row of the videos, in order; the last may be shorter.

        Args:
            window_rows: Rows of a window.
            stride_rows: Rows between the starts of windows; None puts them side by side. With a
                stride longer than a window, rows in the gaps are left out.
            video_ids: Of which videos; None takes all.

        Raises:
            ConfigError: if a number of rows is below 1.
            StoreError: if the stream does not hold a video.
        """
        stride = window_rows if stride_rows is None else stride_rows
        if window_rows < 1 or stride < 1:
            raise ConfigError(
                f"windows of {window_rows} rows, {stride} rows apart: both must be at least 1."
            )
        spans = []
        for video_id in self.video_ids if video_ids is None else video_ids:
            num_rows = self.rows_of(video_id)
            starts = range(0, count_rows(num_rows, window_rows, stride) * stride, stride)
            spans += [
                RowSpan(video_id, start, min(window_rows, num_rows - start)) for start in starts
            ]
        return spans

    def read_windows(self, windows: Sequence[tuple[str, int, int]], out: Array) -> None:
        """Fill one batch: window i = (video id, first row, number of rows) goes to ``out[i]``.

        ``RowSpan`` is such a window.

        Args:
            windows: Rows count from the video's first row and must lie inside it.
            out: (B, T, *row_shape) in ``numpy_dtype``; positions behind a window's rows are
                zeroed. The bytes are copied once, from the page cache to ``out``.

        Raises:
            StoreError: if ``out`` is another array, or a window leaves it or its video.
        """
        started = time.perf_counter()
        check_batch(self.name, windows, out, self.numpy_dtype, self.row_shape)
        located = [self._window(*window) for window in windows]
        if self._is_cold:
            for rows, spans in self._by_part(located):
                rows.prefetch(spans)
        for target, (number, first, count) in zip(out, located, strict=True):
            if count == len(target):
                self.parts[number].rows.copy_features(first, target)
            else:
                self.parts[number].rows.copy_features(first, target[:count])
                target[count:] = 0
        # Prefetching costs a quarter of the time once everything is in the page cache, and not
        # to prefetch costs nine tenths when it is not: the speed of this batch decides the next.
        self._is_cold = (time.perf_counter() - started) * WARM_BYTES_PER_SECOND > out.nbytes

    def fetch(self, windows: Sequence[tuple[str, int, int]]) -> None:
        """Begin to fetch windows for a later ``read_windows``, if rows are far; do not wait."""
        if self.is_far:
            for rows, spans in self._by_part([self._window(*window) for window in windows]):
                rows.fetch(spans)

    def _by_part(
        self, located: Sequence[tuple[int, int, int]]
    ) -> Iterator[tuple[PartRows, list[tuple[int, int]]]]:
        for number in {part for part, _, _ in located}:
            spans = [(first, count) for part, first, count in located if part == number]
            yield self.parts[number].rows, spans

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """Dtype of stored values; uint16 bits for bfloat16."""
        name = self.recipe.store_dtype
        return np.dtype("uint16" if name == "bfloat16" else name)

    @property
    def row_bytes(self) -> int:
        """Bytes of the features of one row."""
        return self.numpy_dtype.itemsize * math.prod(self.row_shape)

    @cached_property
    def _by_short_name(self) -> dict[str, str | None]:
        """The id by its last part, and by all parts joined by ``_``; None for several."""
        names: dict[str, str | None] = {}
        for video_id in self._places:
            for name in {video_id.rsplit("/", 1)[-1], video_id.replace("/", "_")}:
                names[name] = None if name in names else video_id
        return names

    def _locate(self, video_id: str) -> tuple[StreamPart, int]:
        """Return the part with a video's rows, and the line of its journal, counted from 0."""
        place = self._place(video_id)
        return self.parts[place >> PLACE_BITS], place & PLACE_MASK

    def _place(self, video_id: str) -> int:
        try:
            return self._places[video_id]
        except (KeyError, TypeError):  # the second of what no dict takes for a key
            if not isinstance(video_id, str):
                raise StoreError(
                    f"stream '{self.name}': the id of a video is {video_id!r}, a "
                    f"{type(video_id).__name__}, expected text. Give its str()."
                ) from None
            raise StoreError(
                f"stream '{self.name}': no video '{video_id}' among {len(self._places)}. "
                f"{nearest(video_id, self.video_ids[:1000])}"
            ) from None

    def _window(self, video_id: str, first_row: int, num_rows: int) -> tuple[int, int, int]:
        place = self._place(video_id)
        number, at = place >> PLACE_BITS, place & PLACE_MASK
        commits = self.parts[number].commits
        video_rows = commits.num_rows[at]
        if not 0 <= first_row <= first_row + num_rows <= video_rows:
            raise leaves_video(self.name, (video_id, first_row, num_rows), video_rows)
        return number, commits.first_rows[at] + first_row, num_rows
