"""QVHighlights' files: queries with the saliency of 2-s clips.

    highlight_{train,val}.jsonl or highlight_{train,val}_release.jsonl   one query per line
    highlight_test.jsonl or highlight_test_release.jsonl                 without relevant clips
    subs_train.jsonl   subtitles to pretrain on, which look like queries; they are not read

Folder or file in, ``HighlightQuery`` out.

Shapes: C clips of a video, A annotators, 2 start and end seconds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.json_file import json_record, read_json_lines
from train.annotations.reading import check_subset, line_error

__all__ = [
    "CLIP_SECONDS",
    "HIGHEST_SALIENCY",
    "HighlightQuery",
    "HighlightSource",
    "QVHighlightsFiles",
    "VideoQuery",
    "is_qvhighlights",
]

CLIP_SECONDS = 2
NUM_ANNOTATORS = 3
HIGHEST_SALIENCY = 4
"""Of a clip that an annotator finds very good."""

NAMES = ("highlight_{}.jsonl", "highlight_{}_release.jsonl")
SUBTITLES = "subs_train.jsonl"


@json_record
class VideoQuery:
    """One line of a subset without labels: a query and its video."""

    qid: int
    query: str
    vid: str
    duration: float
    """Seconds; the last clip is a whole one."""

    @property
    def num_clips(self) -> int:
        """Whole 2-s clips of the video."""
        return int(self.duration / CLIP_SECONDS)


@json_record
class HighlightQuery(VideoQuery):
    """One line: a query, its video, and how salient the clips are that it asks for."""

    relevant_windows: list[tuple[float, float]]
    """Start and end second of each moment."""
    relevant_clip_ids: list[int]
    saliency_scores: list[tuple[int, int, int]]
    """0 to 4, of each annotator, for each relevant clip. Other clips have 0."""

    @property
    def last_relevant_seconds(self) -> float:
        """Return the middle of the last relevant clip, 0 if there is none.

        Not its end: a video may end within its last clip.
        """
        clips = self.relevant_clip_ids
        return (max(clips) + 0.5) * CLIP_SECONDS if clips else 0.0

    def saliency_CA(self) -> NDArray[np.int64]:
        """Return the saliency of all clips by annotator."""
        saliency_CA = np.zeros((self.num_clips, NUM_ANNOTATORS), np.int64)
        for clip, scores in zip(self.relevant_clip_ids, self.saliency_scores, strict=True):
            saliency_CA[clip] = scores
        return saliency_CA


def is_qvhighlights(path: Path) -> bool:
    """Tell an official file by its first line's keys."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    try:
        return not {"qid", "vid"}.isdisjoint(json.loads(first))
    except (ValueError, TypeError):
        return False


class HighlightSource(Protocol):
    """Where the task gets its queries from."""

    def queries(self, subset: str) -> list[HighlightQuery]:
        """Return the queries of a subset, in a stable order; ``qid`` is unique."""

    def asked(self) -> Sequence[VideoQuery]:
        """Return the same of ``test``, of which nobody says what is salient."""

    def durations(self, queries: Iterable[VideoQuery]) -> Mapping[str, float]:
        """Return the seconds of each of these queries' videos, where they are known."""


class QVHighlightsFiles:
    """The folder of the official files, or the validation file; read when asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def queries(self, subset: str) -> list[HighlightQuery]:
        """Return the queries of a subset in the order of its file.

        Raises:
            AnnotationError: The file is missing, or a line of it is wrong.
        """
        return _read_queries(self._file(check_subset(subset)), HighlightQuery)

    @staticmethod
    def durations(queries: Iterable[VideoQuery]) -> dict[str, float]:
        """Return the seconds of each of these queries' videos."""
        return {query.vid: query.duration for query in queries}

    def asked(self) -> list[VideoQuery]:
        """Return the queries of ``test``.

        Raises:
            AnnotationError: As ``queries``.
        """
        return _read_queries(self._file("test"), VideoQuery)

    def _file(self, subset: str) -> Path:
        if self._path.name == SUBTITLES:
            raise AnnotationError(
                f"{self._path}: holds subtitles to pretrain on, not queries. Name its folder or "
                "highlight_val_release.jsonl."
            )
        if subset == "val" and self._path.is_file():
            return self._path
        folder = self._path.parent if self._path.is_file() else self._path
        names = [name.format(subset) for name in NAMES]
        for path in (folder / name for name in names):
            if path.is_file():
                return path
        raise AnnotationError(f"{folder}: holds neither {names[0]} nor {names[1]}.")


Read = TypeVar("Read", bound=VideoQuery)


def _read_queries(path: Path, kind: type[Read]) -> list[Read]:
    queries = read_json_lines(path, kind)
    lines: dict[int, int] = {}
    for number, query in enumerate(queries, start=1):
        if query.qid in lines:
            message = f"qid {query.qid} is in line {lines[query.qid]} already."
            raise line_error(path, number, message)
        lines[query.qid] = number
        for problem in _problems(query):
            raise line_error(path, number, f"qid {query.qid}: {problem}.")
    return queries


def _problems(query: VideoQuery) -> Iterator[str]:
    """Yield what the types do not say."""
    if not query.num_clips:
        yield f"field 'duration' is {query.duration}, expected at least {CLIP_SECONDS} seconds"
    if isinstance(query, HighlightQuery):
        yield from _wrong_saliency(query)


def _wrong_saliency(query: HighlightQuery) -> Iterator[str]:
    clips, scores = query.relevant_clip_ids, query.saliency_scores
    if outside := [clip for clip in clips if not 0 <= clip < query.num_clips]:
        yield (
            f"field 'relevant_clip_ids' holds {outside[0]}, expected 0 to {query.num_clips - 1}, "
            f"the clips of {query.duration:g} seconds"
        )
    if len(clips) != len(scores):
        yield (
            f"field 'saliency_scores' has {len(scores)} entries, expected {len(clips)}: one per "
            "entry of relevant_clip_ids"
        )
    if any(not 0 <= value <= HIGHEST_SALIENCY for entry in scores for value in entry):
        yield f"field 'saliency_scores' holds a value outside 0 to {HIGHEST_SALIENCY}"
