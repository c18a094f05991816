"""Ego4D's files for long-term anticipation.

    fho_lta_train.json, fho_lta_val.json   one action of one clip per entry of "clips"
    fho_lta_taxonomy.json                  the names of verbs and nouns, in the order of their ids

Folder (or the validation file) in, clips with their actions in seconds of the video out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache_schema.errors import AnnotationError
from train.annotations.json_file import json_record, read_json
from train.annotations.reading import check_folder, check_subset

__all__ = ["Ego4dLta", "LtaAction", "LtaClip", "LtaSource", "LtaTaxonomy"]

TAXONOMY_FILE = "fho_lta_taxonomy.json"


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
class _Entry:
    video_uid: str
    clip_uid: str
    clip_parent_start_sec: float
    clip_parent_end_sec: float
    action_clip_start_sec: float
    action_clip_end_sec: float
    action_idx: int
    verb_label: int
    noun_label: int


@json_record
class _Document:
    clips: list[_Entry]


class Ego4dLta:
    """One annotation folder; files are read when asked for."""

    def __init__(self, path: Path) -> None:
        """Remember where the files are.

        Args:
            path: The folder, or the validation file with the others beside it.
        """
        is_file = path.is_file()
        self._folder = path.parent if is_file else check_folder(path)
        self._files = {
            "train": self._folder / "fho_lta_train.json",
            "val": path if is_file else self._folder / "fho_lta_val.json",
        }

    def clips(self, subset: str) -> list[LtaClip]:
        """Return the clips of a subset, sorted by id, each with its actions by ``action_idx``.

        Raises:
            AnnotationError: No such subset, or an entry is wrong.
        """
        path = self._files[check_subset(subset)]
        entries = read_json(path, _Document).clips
        if not entries:
            raise AnnotationError(f"{path}: 'clips' is empty, expected one entry per action.")
        taxonomy = self.taxonomy()
        clips: dict[str, dict[int, _Entry]] = {}
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


def _problem(entry: _Entry, taxonomy: LtaTaxonomy) -> str | None:
    """Tell what is wrong with an entry in itself."""
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


def _conflict(entry: _Entry, same: dict[int, _Entry]) -> str | None:
    """Tell how an entry contradicts the earlier ones of its clip."""
    if entry.action_idx in same:
        return f"field 'action_idx' is {entry.action_idx}, expected one not used above"
    first = next(iter(same.values()), entry)
    for field in ("video_uid", "clip_parent_start_sec", "clip_parent_end_sec"):
        got, expected = getattr(entry, field), getattr(first, field)
        if got != expected:
            return f"field '{field}' is {got!r}, expected {expected!r} as above for the clip"
    return None


def _clip(entries: dict[int, _Entry]) -> LtaClip:
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
                verb=entry.verb_label,
                noun=entry.noun_label,
            )
            for index, entry in sorted(entries.items())
        ),
    )
