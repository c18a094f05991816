"""Ego4D's episodic-memory files: moments and natural-language queries of clips.

    moments_train.json, moments_val.json    moments: label and seconds in the clip
    nlq_train.json, nlq_val.json            queries: text and the answer's seconds in the clip
    moments_test_unannotated.json           clips only
    nlq_test_unannotated.json               queries without their answers

All nest videos -> clips -> annotations of one annotator each. Folder or validation file in, clips
with their moments or queries out. Frame fields are not read: they are wrong in some official files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from cache_schema.errors import AnnotationError
from train.annotations.json_file import json_record, read_json
from train.annotations.reading import ALL_SUBSETS, check_subset, no_file_beside

__all__ = [
    "Clip",
    "ClipQuery",
    "Ego4dMoments",
    "Ego4dQueries",
    "Moment",
    "MomentClip",
    "MomentSource",
    "QueryKey",
    "QuerySource",
]

T = TypeVar("T")

EARLIEST_START = -1.0
"""Seconds. A clip may start a moment before its video: common readers of these files clamp such."""

QueryKey = tuple[str, str, int]
"""Clip id, annotation id and index of the query in its annotation: what names a query."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One stretch of a video that was annotated by itself."""

    clip_id: str
    video_id: str
    start_seconds: float
    """In the video."""
    end_seconds: float
    """In the video, exclusive."""

    @property
    def duration_seconds(self) -> float:
        """Length of the clip."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One instance of a moment class."""

    label: str
    start_seconds: float
    """In the clip."""
    end_seconds: float
    """In the clip, exclusive; official files hold some that are not behind the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MomentClip:
    """A clip and its primary moments, of all annotators, repetitions included."""

    clip: Clip
    moments: tuple[Moment, ...]

    @property
    def moment_ends(self) -> tuple[float, ...]:
        """When each moment ends, in seconds of the video."""
        return tuple(self.clip.start_seconds + one.end_seconds for one in self.moments)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipQuery:
    """One question about a clip, and when the answer is to be seen."""

    clip: Clip
    annotation_id: str
    index: int
    """In its annotation."""
    text: str
    """As written; empty where the file has none."""
    start_seconds: float
    """In the clip; 0, like the end, where the answer is not public."""
    end_seconds: float
    """In the clip, exclusive; equals the start for many official queries."""

    @property
    def key(self) -> QueryKey:
        """Return what names the query in a submission."""
        return self.clip.clip_id, self.annotation_id, self.index

    @property
    def query_id(self) -> str:
        """Return what names the query in releases of its features (CONE's, GroundNLQ's)."""
        return f"{self.annotation_id}_{self.index}"


class MomentSource(Protocol):
    """Where moments of clips come from."""

    @property
    def path(self) -> Path:
        """Folder or file."""

    def clips(self, subset: str) -> list[MomentClip]:
        """Return the clips of a subset, those without a moment included."""


class QuerySource(Protocol):
    """Where queries about clips come from."""

    @property
    def path(self) -> Path:
        """Folder or file."""

    def queries(self, subset: str) -> list[ClipQuery]:
        """Return the queries of a subset, those without text included."""


class Ego4dMoments:
    """Moments files in one folder; a file is read when asked for."""

    def __init__(self, path: Path) -> None:
        """Remember where the files are.

        Args:
            path: Their folder, or the validation file.
        """
        self.path = path

    def clips(self, subset: str) -> list[MomentClip]:
        """Return the clips of the subset's videos in the order of the file.

        Only labels marked primary count, and clips of ``test`` have none. A clip that occurs twice
        has the labels of both, and videos of another split do not count; both as in the official
        converter.

        Raises:
            AnnotationError: No such subset, or a record is wrong.
        """
        path = _subset_file(self.path, "moments", subset)
        clips: dict[str, Clip] = {}
        moments: dict[str, list[Moment]] = {}
        for video_id, split, entry in self._entries(path, subset):
            if split == subset:
                clip = clips.setdefault(entry.clip_uid, _clip(path, video_id, entry))
                moments.setdefault(clip.clip_id, []).extend(_primary_moments(entry))
        return [
            MomentClip(clip=clip, moments=tuple(moments[clip_id]))
            for clip_id, clip in clips.items()
        ]

    @staticmethod
    def _entries(path: Path, subset: str) -> "Iterator[tuple[str, str, _Span]]":
        if subset == "test":
            return _entries(read_json(path, _File[_Span]))
        return _entries(read_json(path, _File[_Clip[_Labels]]))


class Ego4dQueries:
    """NLQ files in one folder; a file is read when asked for."""

    def __init__(self, path: Path) -> None:
        """Remember where the files are.

        Args:
            path: Their folder, or the validation file.
        """
        self.path = path

    def queries(self, subset: str) -> list[ClipQuery]:
        """Return the queries in the order of the file.

        Of two annotations of a clip with one id the later counts, as in the official evaluator.

        Raises:
            AnnotationError: No such subset, or a record is wrong.
        """
        path = _subset_file(self.path, "nlq", subset)
        annotations: dict[tuple[str, str], list[ClipQuery]] = {}
        for video_id, _, entry in self._entries(path, subset):
            clip = _clip(path, video_id, entry)
            for annotation in entry.annotations:
                key = clip.clip_id, annotation.annotation_uid
                annotations[key] = _queries(clip, annotation)
        return [query for queries in annotations.values() for query in queries]

    @staticmethod
    def _entries(path: Path, subset: str) -> "Iterator[tuple[str, str, _Clip[Any]]]":
        if subset == "test":
            return _entries(read_json(path, _File[_Clip[_Queries[_Asked]]]))
        return _entries(read_json(path, _File[_Clip[_Queries[_Query]]]))


@json_record
class _Label:
    label: str
    primary: bool
    start_time: float
    end_time: float


@json_record
class _Labels:
    labels: list[_Label]


@json_record
class _Asked:
    query: str | None = None


@json_record
class _Query(_Asked):
    clip_start_sec: float
    clip_end_sec: float


@json_record
class _Queries(Generic[T]):
    annotation_uid: str
    language_queries: list[T]


@json_record
class _Span:
    clip_uid: str
    video_start_sec: float
    video_end_sec: float


@json_record
class _Clip(_Span, Generic[T]):
    annotations: list[T]


Entry = TypeVar("Entry", bound=_Span)


@json_record
class _Video(Generic[Entry]):
    video_uid: str
    split: str
    clips: list[Entry]


@json_record
class _File(Generic[Entry]):
    videos: list[_Video[Entry]]


def _subset_file(path: Path, name: str, subset: str) -> Path:
    """Return a subset's file; beside a validation file lie those of the others."""
    check_subset(subset, ALL_SUBSETS)
    if not path.exists():
        raise AnnotationError(
            f"{path}: found nothing, expected a folder with {name}_train.json and "
            f"{name}_val.json, or the validation file."
        )
    if path.is_file() and subset == "val":
        return path
    folder = path.parent if path.is_file() else path
    found = folder / f"{name}_{'test_unannotated' if subset == 'test' else subset}.json"
    if path.is_file() and not found.exists():
        raise no_file_beside(path, found)
    return found


def _entries(file: _File[Entry]) -> Iterator[tuple[str, str, Entry]]:
    """Yield the video, its split and each of its clips."""
    for video in file.videos:
        for clip in video.clips:
            yield video.video_uid, video.split, clip


def _clip(path: Path, video_id: str, entry: _Span) -> Clip:
    start_seconds, end_seconds = entry.video_start_sec, entry.video_end_sec
    if not EARLIEST_START < start_seconds < end_seconds:
        raise AnnotationError(
            f"{path}, clip '{entry.clip_uid}': fields 'video_start_sec', 'video_end_sec' are "
            f"{start_seconds}, {end_seconds}, expected 0 <= start < end."
        )
    return Clip(
        clip_id=entry.clip_uid,
        video_id=video_id,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
    )


def _primary_moments(entry: _Span) -> Iterator[Moment]:
    for annotation in entry.annotations if isinstance(entry, _Clip) else ():
        for label in annotation.labels:
            if label.primary:
                yield Moment(
                    label=label.label, start_seconds=label.start_time, end_seconds=label.end_time
                )


def _queries(clip: Clip, annotation: _Queries[_Asked]) -> list[ClipQuery]:
    return [
        ClipQuery(
            clip=clip,
            annotation_id=annotation.annotation_uid,
            index=index,
            text=query.query or "",
            start_seconds=query.clip_start_sec if isinstance(query, _Query) else 0.0,
            end_seconds=query.clip_end_sec if isinstance(query, _Query) else 0.0,
        )
        for index, query in enumerate(annotation.language_queries)
    ]
