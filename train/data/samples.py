"""From samples in seconds to rows of a stream: samples + stream -> SampleRows.

Shapes: R rows of a sample, 2 start and end seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.stream import RowSpan, Stream
from cache_schema.timeline import rows_between
from train.data.named_videos import what_it_may_mean
from train.task import Sample, SampleOutput, Window, WindowOutput

__all__ = [
    "Found",
    "FoundVideo",
    "SampleRows",
    "count_stored_rows",
    "find_rows",
    "find_video",
    "stored_spans",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRows:
    """A stretch of a video, found in the stream, and the samples about it."""

    samples: tuple[Sample, ...]
    """One, or several queries about the same stretch."""
    video_id: str
    """As the stream names it."""
    first_row: int
    """Of the stretch, from the video's first stored row."""
    num_stored: int
    """Stored rows of the stretch."""
    times_R2: NDArray[np.float64]
    """Start and end second of each row; one row is the mean of ``rows_per_token`` stored ones."""
    rows_per_token: int = 1
    """The last row of a stretch may be the mean of fewer."""

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.times_R2)

    @property
    def query_words(self) -> int:
        """Words of the queries, about as many as their tokens."""
        return sum(len(sample.query.split()) for sample in self.samples)

    def output(self, sample: Sample, windows: list[WindowOutput]) -> SampleOutput:
        """Return what the windows say about one of the samples."""
        return SampleOutput(sample=sample, times_R2=self.times_R2, windows=windows)

    def stored(self, window: Window) -> tuple[str, int, int]:
        """Return video, first stored row and number of stored rows of a window."""
        start = window.start * self.rows_per_token
        stop = min(window.stop * self.rows_per_token, self.num_stored)
        return self.video_id, self.first_row + start, stop - start


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundVideo:
    """What of a stream a sample's rows are rows of: its video, or its clip alone."""

    id: str
    """As the stream names it."""
    starts_at_seconds: float
    """In the sample's video."""
    is_clip_alone: bool
    """Whether rows are of the sample's stretch and of nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The samples of a subset that the stream holds, and the names of those it does not."""

    rows: list[SampleRows]
    missing: list[str]


def find_rows(
    samples: Sequence[Sample],
    stream: Stream,
    *,
    rows_per_token: int = 1,
    allow_missing: int,
    shares_rows: bool = False,
) -> Found:
    """Find the rows of every sample.

    Args:
        samples: Of one subset.
        stream: Where the features are.
        rows_per_token: Consecutive stored rows that become one row of a sample.
        allow_missing: Largest number of videos that may be missing.
        shares_rows: Whether samples of the same rows are put together, in the place of the first:
            for queries that stand behind the rows, which then need to be read only once.

    Raises:
        AnnotationError: if more are missing, or all are.
    """
    times_of = lru_cache(maxsize=64)(stream.times)  # many samples may share a video
    found: list[SampleRows] = []
    missing: dict[str, None] = {}
    for sample in samples:
        video = find_video(sample, stream)
        rows = video and _rows_of(sample, video, times_of(video.id), rows_per_token)
        if rows:
            found.append(rows)
        else:
            missing[sample.video_id] = None
    if len(missing) > allow_missing or not found:
        _refuse(list(missing), stream, len({sample.video_id for sample in samples}), allow_missing)
    return Found(rows=_put_together(found) if shares_rows else found, missing=list(missing))


def _put_together(found: Sequence[SampleRows]) -> list[SampleRows]:
    shared: dict[tuple[str, int, int], list[SampleRows]] = {}
    for rows in found:
        shared.setdefault((rows.video_id, rows.first_row, rows.num_stored), []).append(rows)
    return [
        replace(same[0], samples=tuple(sample for rows in same for sample in rows.samples))
        for same in shared.values()
    ]


def find_video(sample: Sample, stream: Stream) -> FoundVideo | None:
    """Return where a stream has the rows of a sample, None if it has none.

    The video comes first; without it a clip of its own name will do.
    """
    clip_id = stream.resolve(sample.clip_id) if sample.clip_id else None
    video_id = stream.resolve(sample.video_id)
    if video_id is not None:
        is_clip = clip_id == video_id
        return FoundVideo(id=video_id, starts_at_seconds=0.0, is_clip_alone=is_clip)
    if clip_id is None:
        return None
    return FoundVideo(id=clip_id, starts_at_seconds=sample.start_seconds, is_clip_alone=True)


def stored_spans(samples: Iterable[SampleRows]) -> list[RowSpan]:
    """Return what samples read of the store, each row once: by video, ascending."""
    joined: list[RowSpan] = []
    for video_id, first, num in sorted(
        (one.video_id, one.first_row, one.num_stored) for one in samples
    ):
        last = joined[-1] if joined else RowSpan("", 0, 0)
        last_stop = last.first_row + last.num_rows
        if video_id == last.video_id and first <= last_stop:
            stop = max(first + num, last_stop)
            joined[-1] = last._replace(num_rows=stop - last.first_row)
        else:
            joined.append(RowSpan(video_id, first, num))
    return joined


def count_stored_rows(samples: Iterable[SampleRows]) -> int:
    """Return how many rows of the store samples read; one that several read counts once."""
    return sum(span.num_rows for span in stored_spans(samples))


def _rows_of(
    sample: Sample, video: FoundVideo, times_R2: NDArray[np.float64], rows_per_token: int
) -> SampleRows | None:
    times_R2 = times_R2 + video.starts_at_seconds
    first, last = rows_between(times_R2, sample.start_seconds, sample.end_seconds)
    if first == last:
        return None
    firsts = np.arange(first, last, rows_per_token)
    lasts = np.minimum(firsts + rows_per_token, last) - 1
    return SampleRows(
        samples=(sample,),
        video_id=video.id,
        first_row=first,
        num_stored=last - first,
        times_R2=np.stack([times_R2[firsts, 0], times_R2[lasts, 1]], axis=1),
        rows_per_token=rows_per_token,
    )


def _refuse(missing: Sequence[str], stream: Stream, num_videos: int, allowed: int) -> None:
    named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    hint = f" {what_it_may_mean(missing[0], stream)}" if missing else ""
    raise AnnotationError(
        f"stream '{stream.name}' holds no rows for {len(missing)} of {num_videos} annotated "
        f"videos ({named or 'the annotations name none'}); {allowed} may be missing.{hint} Name "
        "them by their ids, extract them into the store, or allow it with --allow-missing."
    )
