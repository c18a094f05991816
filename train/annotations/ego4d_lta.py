"""Ego4D's files for long-term anticipation.

    fho_lta_train.json, fho_lta_val.json   one action of one clip per entry of "clips"
    fho_lta_test_unannotated.json          the same without its labels
    fho_lta_taxonomy.json                  the names of verbs and nouns, in the order of their ids

Folder (or the validation file) in, clips with their actions in seconds of the video out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from cache_schema.errors import AnnotationError
from train.annotations.json_file import json_record, read_json
from train.annotations.reading import ALL_SUBSETS, check_folder, check_subset, no_file_beside

__all__ = ["Ego4dLta", "LtaAction", "LtaClip", "LtaSource", "LtaTaxonomy"]

TAXONOMY_FILE = "fho_lta_taxonomy.json"
UNKNOWN = -1
"""Label of an action whose label is not public, as in the official code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LtaAction:
    """One action of a clip."""

    index: int
    """``action_idx``: its rank in the clip, which submissions name."""
    start_seconds: float
    """In the video, not in the clip."""
    end_seconds: float
    """Exclusive; may equal the start. Actions may overlap, and need not end in their order."""
    verb: int
    """-1 where it is not public, like the noun's."""
    noun: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LtaClip:
    """One annotated stretch of a video."""

    clip_id: str
    """``clip_uid``."""
    video_id: str
    start_seconds: float
    end_seconds: float
    actions: tuple[LtaAction, ...]
    """By index."""


@json_record
class LtaTaxonomy:
    """Class names; their places are the ids."""

    verbs: tuple[str, ...]
    nouns: tuple[str, ...]


class LtaSource(Protocol):
    """What the task asks of its annotations."""

    def clips(self, subset: str) -> list[LtaClip]:
        """Return the clips of a subset, sorted by id."""

    def taxonomy(self) -> LtaTaxonomy:
        """Return the names of verbs and nouns."""


@json_record
class _Seen:
    video_uid: str
    clip_uid: str
    clip_parent_start_sec: float
    clip_parent_end_sec: float
    action_clip_start_sec: float
    action_clip_end_sec: float
    action_idx: int


@json_record
class _Entry(_Seen):
    verb_label: int
    noun_label: int


Read = TypeVar("Read", bound=_Seen)


@json_record
class _Document(Generic[Read]):
    clips: list[Read]


class Ego4dLta:
    """One annotation folder; files are read when asked for."""

    def __init__(self, path: Path) -> None:
        """Remember where the files are.

        Args:
            path: The folder, or the validation file with the others beside it.
        """
        is_file = path.is_file()
        self._folder = path.parent if is_file else check_folder(path)
        if is_file and not (self._folder / TAXONOMY_FILE).exists():
            raise no_file_beside(path, self._folder / TAXONOMY_FILE)
        self._files = {
            "train": self._folder / "fho_lta_train.json",
            "val": path if is_file else self._folder / "fho_lta_val.json",
            "test": self._folder / "fho_lta_test_unannotated.json",
        }

    def clips(self, subset: str) -> list[LtaClip]:
        """Return the clips of a subset, sorted by id, each with its actions by ``action_idx``.

        Raises:
            AnnotationError: No such subset, or an entry is wrong.
        """
        path = self._files[check_subset(subset, ALL_SUBSETS)]
        entries: Sequence[_Seen] = (
            read_json(path, _Document[_Seen]).clips
            if subset == "test"
            else read_json(path, _Document[_Entry]).clips
        )
        if not entries:
            raise AnnotationError(f"{path}: 'clips' is empty, expected one entry per action.")
        taxonomy = self.taxonomy()
        clips: dict[str, dict[int, _Seen]] = {}
        for number, entry in enumerate(entries):
            same = clips.setdefault(entry.clip_uid, {})
            problem = _problem(entry, taxonomy) or _conflict(entry, same)
            if problem:
                where = f"{path}: record clips.{number} (clip '{entry.clip_uid}')"
                raise AnnotationError(f"{where}, {problem}.")
            same[entry.action_idx] = entry
        return [_clip(clips[clip_id]) for clip_id in sorted(clips)]

    def taxonomy(self) -> LtaTaxonomy:
        """Return the names of verbs and nouns.

        Raises:
            AnnotationError: The file is missing or wrong, or names no verb or no noun.
        """
        path = self._folder / TAXONOMY_FILE
        taxonomy = read_json(path, LtaTaxonomy)
        for field in ("verbs", "nouns"):
            if not getattr(taxonomy, field):
                raise AnnotationError(f"{path}: field '{field}' is empty, expected class names.")
        return taxonomy


def _problem(entry: _Seen, taxonomy: LtaTaxonomy) -> str | None:
    """Tell what is wrong with an entry in itself."""
    if isinstance(entry, _Entry):
        for field, names in (("verb_label", taxonomy.verbs), ("noun_label", taxonomy.nouns)):
            label = getattr(entry, field)
            if not 0 <= label < len(names):
                return f"field '{field}' is {label}, expected an id of the {len(names)} classes"
    if entry.action_idx < 0:
        return f"field 'action_idx' is {entry.action_idx}, expected at least 0"
    for kind in ("action_clip", "clip_parent"):
        start, end = (getattr(entry, f"{kind}_{side}_sec") for side in ("start", "end"))
        if not 0 <= start <= end:
            return f"field '{kind}_start_sec' is {start}, expected 0 to {end}, the end"
    return None


def _conflict(entry: _Seen, same: dict[int, _Seen]) -> str | None:
    """Tell how an entry contradicts the earlier ones of its clip."""
    if entry.action_idx in same:
        return f"field 'action_idx' is {entry.action_idx}, expected one not used above"
    first = next(iter(same.values()), entry)
    for field in ("video_uid", "clip_parent_start_sec", "clip_parent_end_sec"):
        got, expected = getattr(entry, field), getattr(first, field)
        if got != expected:
            return f"field '{field}' is {got!r}, expected {expected!r} as above for the clip"
    return None


def _clip(entries: dict[int, _Seen]) -> LtaClip:
    first = next(iter(entries.values()))
    start_seconds = first.clip_parent_start_sec
    return LtaClip(
        clip_id=first.clip_uid,
        video_id=first.video_uid,
        start_seconds=start_seconds,
        end_seconds=first.clip_parent_end_sec,
        actions=tuple(
            LtaAction(
                index=index,
                start_seconds=start_seconds + entry.action_clip_start_sec,
                end_seconds=start_seconds + entry.action_clip_end_sec,
                verb=entry.verb_label if isinstance(entry, _Entry) else UNKNOWN,
                noun=entry.noun_label if isinstance(entry, _Entry) else UNKNOWN,
            )
            for index, entry in sorted(entries.items())
        ),
    )
