"""Ego4D's narrations: what happens in a video, sentence by sentence.

    narration.json   official: {video_uid: {narration_pass_1: {narrations: [...]}, ...}}
    all_narrations_redacted.json   of version 2, which may also have the other name:
                     {"videos": {video_uid: {narrations: [{time, text}]}}}
    splits.json      ours: {"train": [video_uid, ...], "val": [...]}; Ego4D has no captioning split
    references.json  instead of the two, for scoring alone: {id: [caption, ...]}

Folder or file in, ``Narration`` and reference captions by id out. A narration's id is
``<video_uid>:<pass>:<index>``, where index counts the entries of its list from 0 and the one list
of version 2 is pass 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from cache_schema.errors import AnnotationError
from cache_schema.parsing import nearest
from train.annotations.json_file import json_record, read_json, read_json_object
from train.annotations.reading import check_subset

__all__ = ["Narration", "NarrationFiles", "NarrationSource", "read_captions"]

NARRATIONS, SECOND_NARRATIONS = "narration.json", "all_narrations_redacted.json"
SPLITS = "splits.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Narration:
    """One sentence about one instant."""

    narration_id: str
    seconds: float
    text: str
    """As it is in the file, with its ``#C C``."""


class NarrationSource(Protocol):
    """Where the task gets its narrations from."""

    def narrations(self, subset: str) -> Mapping[str, Sequence[Narration]]:
        """Return the narrations of each video of a subset that has one, by time."""

    def durations(self) -> Mapping[str, float]:
        """Return the seconds of each video of which they are known."""

    def references(self) -> Mapping[str, Sequence[str]]:
        """Return what a submission is scored against: id -> captions, at least one."""


class NarrationFiles:
    """A folder with both files, or a file with references; read when asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def narrations(self, subset: str) -> dict[str, list[Narration]]:
        """Return the narrations of each video of a subset that has one, by time.

        Both passes are taken. Narrations without text are passed over.

        Raises:
            AnnotationError: A file is missing or wrong, or a split names an unknown video.
        """
        if self._path.is_file():
            raise AnnotationError(
                f"{self._path}: a file with references can be scored against only. Training and "
                f"prediction need a folder with {NARRATIONS} and {SPLITS}."
            )
        videos = self._splits[check_subset(subset)]
        return {video: self._by_video[video] for video in videos if self._by_video[video]}

    def durations(self) -> dict[str, float]:
        """Return none: the official files do not say them."""
        return {}

    def references(self) -> dict[str, list[str]]:
        """Return id -> captions of the file, or of the validation narrations of the folder.

        Raises:
            AnnotationError: A file is missing or wrong, or there is no reference.
        """
        if self._path.is_file():
            return _read_references(self._path)
        videos = self.narrations("val").values()
        references = {one.narration_id: [one.text] for video in videos for one in video}
        if not references:
            raise AnnotationError(f"{self._path / SPLITS}: no 'val' video has a narration.")
        return references

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        path = self._path / SPLITS
        splits = read_json(path, _Splits)
        found = {"train": splits.train, "val": splits.val}
        for subset, videos in found.items():
            for video in videos:
                if video not in self._by_video:
                    hint = nearest(video, list(self._by_video)[:1000])
                    raise AnnotationError(
                        f"{path}: field '{subset}' names video '{video}', which is not in "
                        f"{self._narrations_file.name}. {hint}"
                    )
        if shared := set(splits.train) & set(splits.val):
            raise AnnotationError(f"{path}: video '{min(shared)}' is in both 'train' and 'val'.")
        return found

    @property
    def _narrations_file(self) -> Path:
        first, second = self._path / NARRATIONS, self._path / SECOND_NARRATIONS
        return second if second.exists() and not first.exists() else first

    @cached_property
    def _by_video(self) -> dict[str, list[Narration]]:
        path = self._narrations_file
        if "videos" in read_json_object(path):
            second = read_json(path, _SecondVersion)
            return {video: _sorted(_second(video, one)) for video, one in second.videos.items()}
        first: dict[str, _Video] = read_json(path, dict[str, _Video])
        return {video: _sorted(_first(video, one)) for video, one in first.items()}


def read_captions(path: Path, references: Mapping[str, object]) -> dict[str, str]:
    """Return a submission, ``{id: caption}``, in the order of the references.

    Raises:
        AnnotationError: The file is wrong, or its ids are not those of the references.
    """
    captions: dict[str, str] = read_json(path, dict[str, str])
    for narration_id in captions:
        if narration_id not in references:
            raise AnnotationError(f"{path}: id '{narration_id}' is not in the annotations.")
    if missing := [one for one in references if one not in captions]:
        raise AnnotationError(
            f"{path}: {len(missing)} of {len(references)} narrations have no caption, the first "
            f"is '{missing[0]}'. The evaluator scores all or none."
        )
    return {narration_id: captions[narration_id] for narration_id in references}


@json_record
class _Splits:
    train: list[str]
    val: list[str]


@json_record
class _Entry:
    timestamp_sec: float
    narration_text: str


@json_record
class _Pass:
    narrations: list[_Entry]


@json_record
class _Video:
    """Redacted videos have no pass."""

    narration_pass_1: _Pass | None = None
    narration_pass_2: _Pass | None = None


@json_record
class _SecondEntry:
    time: float
    text: str


@json_record
class _SecondVideo:
    """Some have summaries alone."""

    narrations: list[_SecondEntry] = field(default_factory=list)


@json_record
class _SecondVersion:
    videos: dict[str, _SecondVideo]


def _first(video_id: str, video: _Video) -> Iterator[Narration]:
    passes = (video.narration_pass_1, video.narration_pass_2)
    for number, one in enumerate(passes, start=1):
        for index, entry in enumerate(one.narrations if one else ()):
            yield Narration(
                narration_id=f"{video_id}:{number}:{index}",
                seconds=entry.timestamp_sec,
                text=entry.narration_text,
            )


def _second(video_id: str, video: _SecondVideo) -> Iterator[Narration]:
    for index, entry in enumerate(video.narrations):
        yield Narration(narration_id=f"{video_id}:1:{index}", seconds=entry.time, text=entry.text)


def _sorted(narrations: Iterator[Narration]) -> list[Narration]:
    return sorted((one for one in narrations if one.text.strip()), key=lambda one: one.seconds)


def _read_references(path: Path) -> dict[str, list[str]]:
    references: dict[str, list[str]] = read_json(path, dict[str, list[str]])
    if not references:
        raise AnnotationError(f"{path}: the file holds no reference.")
    for narration_id, captions in references.items():
        if not captions:
            raise AnnotationError(f"{path}: id '{narration_id}' has no caption.")
    return references
