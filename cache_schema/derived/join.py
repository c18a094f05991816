"""Several streams of the same videos, brought to one time line and put side by side.

A row is what was known by its end: the row of the first stream itself, and of each other stream the
latest row that has ended by then, so that nothing of the future is shown. Nothing is stored: the
rows are made when they are read.

Shapes: B windows, T rows of a window, R rows of a video, D feature width of a stream.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cache_schema.derived.made import MadeStream
from cache_schema.errors import StoreError
from cache_schema.recipe import SamplingRecipe, derived_recipe
from cache_schema.stored_numbers import Array, as_float32
from cache_schema.stream import Stream
from cache_schema.window_checks import check_batch, leaves_video

__all__ = ["JoinedStream"]

ROUNDING_SECONDS = 1e-6
"""Ends that differ by less are the same instant."""


class JoinedStream(MadeStream):
    """The rows of several streams side by side, in float32; of the videos that all have."""

    def __init__(self, streams: Sequence[Stream], rows_per_second: Fraction | None = None) -> None:
        """Join streams.

        Args:
            streams: Of one store; one will do for another time line. Rows that are grids of tokens
                are averaged.
            rows_per_second: Of the time line; None takes the rows of the first stream.

        Raises:
            StoreError: if they have no video in common.
        """
        first, *others = streams
        sampling = first.recipe.sampling
        if rows_per_second is not None:
            sampling = SamplingRecipe(fps=rows_per_second, frames_per_window=1, stride_frames=1)
        name = "+".join(stream.name for stream in streams)
        recipe = derived_recipe("join", [stream.recipe for stream in streams], sampling)
        super().__init__(
            name,
            recipe,
            (sum(one.row_shape[-1] for one in streams),),
            first.parts,
            is_far=any(one.is_far for one in streams),
        )
        self._streams = tuple(streams)
        self._rows_per_second = None if sampling == first.recipe.sampling else sampling.fps
        self._lines: dict[str, _Line] = {}
        self._places = {
            video_id: place
            for video_id, place in self._places.items()
            if all(_id_in(stream, video_id) is not None for stream in others)
        }
        if not self._places:
            held = "; ".join(f"{one.name}: {', '.join(one.video_ids[:3])}" for one in streams)
            raise StoreError(
                f"streams {', '.join(one.name for one in streams)} have no video in common "
                f"({held}). They are joined by the ids of their videos."
            )

    @property
    def stored(self) -> tuple[Stream, ...]:
        """See ``Stream.stored``."""
        found = (one for stream in self._streams for one in stream.stored)
        return tuple({one.name: one for one in found}.values())

    @property
    def widths(self) -> tuple[int, ...]:
        """See ``Stream.widths``."""
        return tuple(stream.row_shape[-1] for stream in self._streams)

    def rows_of(self, video_id: str) -> int:
        """See ``Stream.rows_of``."""
        if self._rows_per_second is None:
            return super().rows_of(video_id)
        return len(self.times(video_id))

    def times(self, video_id: str) -> NDArray[np.float64]:
        """See ``Stream.times``."""
        times_R2 = self._streams[0].times(video_id)
        rate = self._rows_per_second
        if rate is None:
            return times_R2
        end = float(times_R2[:, 1].max())
        num_rows = max(1, math.ceil(end * float(rate) - ROUNDING_SECONDS))
        edges = np.array([float(row / rate) for row in range(num_rows + 1)])
        return np.stack([edges[:-1], np.minimum(edges[1:], end)], axis=1)

    def fetch(self, windows: Sequence[tuple[str, int, int]]) -> None:
        """See ``Stream.fetch``."""
        for stream, names, rows in self._needed(windows):
            stream.fetch(_spans(names, rows))

    def read_windows(self, windows: Sequence[tuple[str, int, int]], out: Array) -> None:
        """See ``Stream.read_windows``."""
        check_batch(self.name, windows, out, self.numpy_dtype, self.row_shape)
        for target, (_, _, count) in zip(out, windows, strict=True):
            target[count:] = 0
        start = 0
        for (stream, names, rows), width in zip(self._needed(windows), self.widths, strict=True):
            _gather(stream, names, rows, out[..., start : start + width])
            start += width

    def _needed(
        self, windows: Sequence[tuple[str, int, int]]
    ) -> Iterator[tuple[Stream, list[str], list[NDArray[np.int32]]]]:
        """Yield each stream, its names of the windows' videos, and its row for each row."""
        lines = [self._line(video_id) for video_id, _, _ in windows]
        for line, window in zip(lines, windows, strict=True):
            _, first, count = window
            if not 0 <= first <= first + count <= len(line.rows[0]):
                raise leaves_video(self.name, window, len(line.rows[0]))
        for number, stream in enumerate(self._streams):
            rows = [
                line.rows[number][first : first + count]
                for line, (_, first, count) in zip(lines, windows, strict=True)
            ]
            yield stream, [line.ids[number] for line in lines], rows

    def _line(self, video_id: str) -> "_Line":
        """Return which rows of each stream a video's rows are; kept, a few bytes for each row."""
        if video_id not in self._lines:
            self._place(video_id)  # says what there is instead
            ends_R = self.times(video_id)[:, 1]
            ids = [str(_id_in(stream, video_id)) for stream in self._streams]
            rows = [
                # Not by their ends: the last windows of a video may all end with it.
                np.arange(len(ends_R), dtype=np.int32)
                if number == 0 and self._rows_per_second is None
                else _ended_by(stream.times(name)[:, 1], ends_R)
                for number, (stream, name) in enumerate(zip(self._streams, ids, strict=True))
            ]
            self._lines[video_id] = _Line(ids, rows)
        return self._lines[video_id]


class _Line(NamedTuple):
    """The time line of one video."""

    ids: list[str]
    """Of the video in each stream."""
    rows: list[NDArray[np.int32]]
    """The row of each stream for each row; -1 where none has ended yet."""


def _id_in(stream: Stream, video_id: str) -> str | None:
    """Return a video's id in another stream, where it may lie in another folder."""
    return stream.named(video_id) or stream.named(video_id.rsplit("/", 1)[-1])


def _ended_by(ends_S: NDArray[np.float64], instants_R: NDArray[np.float64]) -> NDArray[np.int32]:
    places_R = np.searchsorted(ends_S, instants_R + ROUNDING_SECONDS, side="right") - 1
    return places_R.astype(np.int32)


def _gather(
    stream: Stream, video_ids: Sequence[str], rows: Sequence[NDArray[np.int32]], out: Array
) -> None:
    """Fill out[b, t] with row rows[b][t] of a stream; with zeros where that is -1."""
    spans = _spans(video_ids, rows)
    longest = max(count for _, _, count in spans)
    stored = np.empty((len(rows), longest, *stream.row_shape), stream.numpy_dtype)
    stream.read_windows(spans, stored)
    values = as_float32(stored, stream.recipe.store_dtype)
    if values.ndim == 4:
        values = values.mean(axis=2)
    for target, own, (_, first, _), found in zip(out, rows, spans, values, strict=True):
        target[: len(own)] = np.where((own >= 0)[:, None], found[np.maximum(own - first, 0)], 0.0)


def _spans(
    video_ids: Sequence[str], rows: Sequence[NDArray[np.int32]]
) -> list[tuple[str, int, int]]:
    """Return the windows of a stream that hold the rows of each window."""
    firsts = [max(0, int(own.min())) if len(own) else 0 for own in rows]
    lasts = [max(0, int(own.max(initial=0))) for own in rows]
    counts = [last + 1 - first for first, last in zip(firsts, lasts, strict=True)]
    return list(zip(video_ids, firsts, counts, strict=True))
