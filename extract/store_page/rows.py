"""The rows that are looked at: some of each video, read once, in blocks of bounded size.

A store may hold the rows of 40 TB of video, so all that is said about rows is said of a sample:
runs of consecutive rows, spread over every video (or over a sample of very many videos).

Shapes: V videos, R rows looked at, D feature dim, S numbers of a sketch, M rows that are kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cache_schema.stored_numbers import as_float32
from cache_schema.stream import RowSpan, Stream
from extract.store_page.dimensions import DimensionFacts, DimensionSums

__all__ = ["SAME", "LookedAt", "look_at", "plan_spans", "pooled", "read_span"]

MOST_VIDEOS = 20_000
"""Looked at; more are sampled, so that comparing each with each takes minutes, not days."""
MOST_ROWS = 200_000
MOST_BYTES = 2**30
"""Read in all, unless that is less than one run of each video."""
RUN_ROWS = 32
BLOCK_BYTES = 8 * 2**20
KEPT_ROWS = 2000
"""For the map: each becomes a point that the browser draws."""

SKETCH_SIZE = 16
"""Random projections keep distances (Johnson and Lindenstrauss, 1984): with 16 of them, rows that
differ by a third of their length pass for equal less than once in 10^20."""

SAME = 0.02
"""Two rows are the same if they differ by at most this share of their length: re-encoding a frozen
frame moves a row by less, a live camera by far more (docs/store-report.md)."""

MOST_VALUE = 1e15
"""Squares of it can be added up in float32."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """What one pass over the sample of rows found."""

    video_ids: list[str]
    """The videos looked at, sorted."""
    video_R: NDArray[np.int32]
    """Of each row looked at, its video's place among ``video_ids``."""
    row_R: NDArray[np.int64]
    """Its number, counted from the video's first row."""
    sketch_RS: Floats
    """A few random projections of it, which keep distances."""
    num_rows_V: NDArray[np.int64]
    """Rows looked at of each video."""
    num_still_V: NDArray[np.int64]
    """Those that are the same as the row before."""
    mean_VD: Floats
    """Mean row of each video; tokens of a grid are averaged first."""
    kept_M: NDArray[np.int64]
    """Rows, drawn from those looked at, whose values are kept."""
    kept_MD: Floats
    dimensions: DimensionFacts

    @property
    def num_rows(self) -> int:
        """Rows looked at."""
        return len(self.row_R)


def plan_spans(stream: Stream, seed: int) -> list[RowSpan]:
    """Return the runs of rows to look at, by video and then by row.

    Every video has the same share; one that is shorter is read whole.

    Args:
        stream: At least one video.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    ids = stream.video_ids
    if len(ids) > MOST_VIDEOS:
        ids = [ids[k] for k in np.sort(random.choice(len(ids), MOST_VIDEOS, replace=False))]
    share = min(MOST_ROWS, MOST_BYTES // stream.row_bytes) // len(ids)
    num_runs = max(1, share // RUN_ROWS)
    spans = []
    for video_id in ids:
        num_rows = stream.rows_of(video_id)
        if num_rows <= num_runs * RUN_ROWS:
            spans.append(RowSpan(video_id, 0, num_rows))
            continue
        edges = np.linspace(0, num_rows, num_runs + 1).astype(np.int64)
        for start, end in pairwise(edges):
            first = int(random.integers(start, end - RUN_ROWS + 1))
            spans.append(RowSpan(video_id, first, RUN_ROWS))
    return spans


def look_at(
    stream: Stream, spans: Sequence[RowSpan], seed: int, advance: Callable[[int], object]
) -> LookedAt:
    """Look at rows of a stream.

    Args:
        stream: Whose rows are read.
        spans: By ``plan_spans``.
        seed: Of the sketches and of the rows that are kept.
        advance: Called with the number of rows just read.
    """
    sums = _Sums(stream, spans, seed)
    before = ("", 0)
    for span in _blocks(stream, spans):
        values = read_span(stream, span)
        sums.add(span, values, goes_on=before == (span.video_id, span.first_row))
        before = span.video_id, span.first_row + span.num_rows
        advance(span.num_rows)
    return sums.looked_at()


def read_span(stream: Stream, span: RowSpan) -> Floats:
    """Return rows as numbers, (rows, *row_shape) float32."""
    out = np.empty((1, span.num_rows, *stream.row_shape), stream.numpy_dtype)
    stream.read_windows([span], out)
    return as_float32(out[0], stream.recipe.store_dtype)


def pooled(values: Floats) -> Floats:
    """Return (rows, D): the mean over the tokens of a grid, fit for computing lengths.

    What is no number counts as zero, and what is huge as less: it is counted by dimension, and must
    not make the rest of its row unknown.
    """
    numbers = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(-MOST_VALUE, MOST_VALUE)
    rows_RD: Floats = numbers.reshape(len(values), -1, values.shape[-1]).mean(axis=1)
    return rows_RD


def _blocks(stream: Stream, spans: Sequence[RowSpan]) -> Iterator[RowSpan]:
    most = max(1, BLOCK_BYTES // stream.row_bytes)
    for video_id, first_row, num_rows in spans:
        for start in range(0, num_rows, most):
            yield RowSpan(video_id, first_row + start, min(most, num_rows - start))


class _Sums:
    """Grows block by block; what it holds of a row is a sketch."""

    def __init__(self, stream: Stream, spans: Sequence[RowSpan], seed: int) -> None:
        random = np.random.default_rng(seed + 1)
        num_dims = stream.row_shape[-1]
        self._ids = sorted({span.video_id for span in spans})
        self._place = {video_id: place for place, video_id in enumerate(self._ids)}
        num_rows = sum(span.num_rows for span in spans)
        num_kept = min(KEPT_ROWS, num_rows)
        self._kept_M = np.sort(random.choice(num_rows, num_kept, replace=False))
        self._kept_MD = np.empty((num_kept, num_dims), np.float32)
        scale = 1 / np.sqrt(SKETCH_SIZE)
        self._projection_DS = random.normal(0, scale, (num_dims, SKETCH_SIZE)).astype(np.float32)
        self._video_R = np.empty(num_rows, np.int32)
        self._row_R = np.empty(num_rows, np.int64)
        self._sketch_RS = np.empty((num_rows, SKETCH_SIZE), np.float32)
        self._num_rows_V = np.zeros(len(self._ids), np.int64)
        self._num_still_V = np.zeros(len(self._ids), np.int64)
        self._sum_VD = np.zeros((len(self._ids), num_dims), np.float32)
        self._dimensions = DimensionSums(num_dims, stream.recipe.store_dtype)
        self._last_D: Floats | None = None
        self._filled = 0

    def add(self, span: RowSpan, values: Floats, *, goes_on: bool) -> None:
        """Add consecutive rows of a video, which may follow those added last."""
        place = self._place[span.video_id]
        self._dimensions.add(values.reshape(-1, values.shape[-1]))
        rows_RD = pooled(values)
        chosen = slice(self._filled, self._filled + len(rows_RD))
        self._video_R[chosen] = place
        self._row_R[chosen] = np.arange(span.first_row, span.first_row + span.num_rows)
        self._sketch_RS[chosen] = rows_RD @ self._projection_DS
        self._num_rows_V[place] += len(rows_RD)
        self._sum_VD[place] += rows_RD.sum(axis=0)
        first, last = np.searchsorted(self._kept_M, (chosen.start, chosen.stop))
        self._kept_MD[first:last] = rows_RD[self._kept_M[first:last] - chosen.start]
        if goes_on and self._last_D is not None:
            rows_RD = np.concatenate([self._last_D[None], rows_RD])
        self._num_still_V[place] += _num_still(rows_RD)
        self._last_D = rows_RD[-1].copy()
        self._filled = chosen.stop

    def looked_at(self) -> LookedAt:
        """Return what was found once every row was added."""
        return LookedAt(
            video_ids=self._ids,
            video_R=self._video_R,
            row_R=self._row_R,
            sketch_RS=self._sketch_RS,
            num_rows_V=self._num_rows_V,
            num_still_V=self._num_still_V,
            mean_VD=(self._sum_VD / self._num_rows_V[:, None]).astype(np.float32),
            kept_M=self._kept_M,
            kept_MD=self._kept_MD,
            dimensions=self._dimensions.facts(),
        )


def _num_still(rows_RD: Floats) -> int:
    steps = np.linalg.norm(np.diff(rows_RD, axis=0), axis=1)
    return int((steps <= SAME * np.linalg.norm(rows_RD[1:], axis=1)).sum())
