"""EPIC-KITCHENS-100's csv files.

    EPIC_100_train.csv, EPIC_100_validation.csv      one narrated action per record
    EPIC_100_test_timestamps.csv                     the same without its classes
    EPIC_100_verb_classes.csv, ..._noun_classes.csv  id, key (optional: checks, names)
    EPIC_100_tail_verbs.csv, EPIC_100_tail_nouns.csv, EPIC_100_unseen_participant_ids_validation.csv
                                                     parts that are also scored alone (optional)
    classes.csv or actions.csv                       id of every (verb, noun) pair (optional)
    video_lengths.csv or EPIC_100_video_info.csv     how long each video is

Folder in, actions in seconds, class lists and subsets out.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from cache_schema.errors import AnnotationError
from train.annotations.reading import ALL_SUBSETS, CsvRow, check_folder, check_subset, read_csv

__all__ = [
    "ACTION_FILES",
    "Action",
    "EpicFolder",
    "NarratedSegment",
    "VerbNoun",
    "by_video",
    "parse_timestamp",
]

logger = logging.getLogger(__name__)

VerbNoun = tuple[int, int]
"""Verb class and noun class: what the benchmark calls an action class."""

ACTION_FILES = {"train": "EPIC_100_train.csv", "val": "EPIC_100_validation.csv"}
TEST_FILE = "EPIC_100_test_timestamps.csv"
SEGMENT_COLUMNS = (
    "narration_id",
    "participant_id",
    "video_id",
    "start_timestamp",
    "stop_timestamp",
)
ACTION_COLUMNS = (*SEGMENT_COLUMNS, "verb_class", "noun_class")
PAIR_FILES = {"classes.csv": ("verb_class", "noun_class"), "actions.csv": ("verb", "noun")}
TIMESTAMP = re.compile(r"(\d+):([0-5]\d):([0-5]\d)(?:\.(\d+))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class NarratedSegment:
    """When something was done."""

    narration_id: str
    participant_id: str
    video_id: str
    start_seconds: float
    end_seconds: float
    """Exclusive; may equal the start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Action(NarratedSegment):
    """One narrated action."""

    verb_noun: VerbNoun


Narrated = TypeVar("Narrated", bound=NarratedSegment)


class EpicFolder:
    """One annotation folder; files are read when first asked for, those of actions only once."""

    def __init__(self, folder: Path) -> None:
        self._folder = check_folder(folder)

    def actions(self, subset: str) -> list[Action]:
        """Return the actions of a subset, by video, then start, then narration id.

        Raises:
            AnnotationError: No such subset, or a record is wrong.
        """
        return list(self._actions(subset))

    @cache  # noqa: B019 - a folder's reader lives as long as its process
    def _actions(self, subset: str) -> tuple[Action, ...]:
        path = self._folder / ACTION_FILES[check_subset(subset)]
        verbs = self._class_names("EPIC_100_verb_classes.csv")
        nouns = self._class_names("EPIC_100_noun_classes.csv")

        def action(row: CsvRow) -> Action:
            _check_class(row, "verb_class", verbs)
            _check_class(row, "noun_class", nouns)
            verb_noun = row.integer("verb_class"), row.integer("noun_class")
            return Action(**asdict(_segment(row)), verb_noun=verb_noun)

        return tuple(_in_order(path, ACTION_COLUMNS, action))

    def segments(self, subset: str) -> Sequence[NarratedSegment]:
        """Return the same, or of ``test`` the segments whose actions are to be told.

        Raises:
            AnnotationError: As ``actions``.
        """
        if check_subset(subset, ALL_SUBSETS) != "test":
            return self.actions(subset)
        path = self._folder / TEST_FILE
        return _in_order(path, SEGMENT_COLUMNS, _segment)

    def action_classes(self) -> list[VerbNoun]:
        """Return the (verb, noun) pair of every action class id.

        ``classes.csv`` or ``actions.csv`` fix the ids. Without them the classes are the pairs that
        occur in the training or validation records, sorted by verb, then noun.
        """
        for name, columns in PAIR_FILES.items():
            if (self._folder / name).exists():
                return _read_pairs(self._folder / name, columns)
        if not (self._folder / ACTION_FILES["train"]).exists():
            raise AnnotationError(
                f"{self._folder}: found none of classes.csv, actions.csv and "
                f"{ACTION_FILES['train']}, expected one of them: it fixes the class ids."
            )
        actions = [*self.actions("train"), *self.actions("val")]
        return sorted({action.verb_noun for action in actions})

    def classified_actions(self, subset: str) -> dict[str, list[Action]]:
        """Return the actions of each video of a subset, all of them of ``action_classes``.

        Raises:
            AnnotationError: As ``actions``, or a record's pair is no class.
        """
        classes = self.action_classes()
        known = set(classes)
        actions = self.actions(subset)
        for action in actions:
            if action.verb_noun not in known:
                raise AnnotationError(
                    f"{self._folder / ACTION_FILES[subset]}, record '{action.narration_id}': "
                    f"fields 'verb_class', 'noun_class' are {action.verb_noun}, expected one of "
                    f"the {len(classes)} pairs that classes.csv or actions.csv list."
                )
        return by_video(actions)

    def action_names(self) -> list[str]:
        """Return the words of each action class, such as ``open drawer``.

        Where a list of verbs or nouns is missing, what the records most often call a class stands
        for it; where they have no words either, its id.
        """
        verbs = self._class_names("EPIC_100_verb_classes.csv") or self._words("verb")
        nouns = self._class_names("EPIC_100_noun_classes.csv") or self._words("noun")
        return [
            f"{verbs.get(verb, verb)} {nouns.get(noun, noun)}"
            for verb, noun in self.action_classes()
        ]

    def _words(self, kind: str) -> dict[int, str]:
        """Return what the records most often call each verb or noun; of equals the first word.

        No word is given twice, lest two classes look like one.
        """
        paths = [self._folder / name for name in ACTION_FILES.values()]
        rows = [
            row
            for path in paths
            if path.exists()
            for row in read_csv(path, (f"{kind}_class",), optional=(kind,))
        ]
        counts = Counter(
            (row.integer(f"{kind}_class"), row.values[kind].strip())
            for row in rows
            if row.values.get(kind, "").strip()
        )
        words: dict[int, str] = {}
        for class_id, word in sorted(counts, key=lambda named: (-counts[named], named)):
            if word not in words.values():
                words.setdefault(class_id, word)
        return words

    def knows_action_classes(self) -> bool:
        """Tell whether ``action_classes`` has what it needs."""
        names = (*PAIR_FILES, ACTION_FILES["train"])
        return any((self._folder / name).exists() for name in names)

    def count_verbs(self) -> int:
        """Count the verb classes: those of their list, else up to the highest known one."""
        return self._count("EPIC_100_verb_classes.csv", 0)

    def count_nouns(self) -> int:
        """Count the noun classes: those of their list, else up to the highest known one."""
        return self._count("EPIC_100_noun_classes.csv", 1)

    def _count(self, name: str, place: int) -> int:
        ids = set(self._class_names(name) or ())
        if not ids:
            pairs = {action.verb_noun for action in self.actions("val")}
            if self.knows_action_classes():
                pairs.update(self.action_classes())
            ids = {pair[place] for pair in pairs}
        return max(ids, default=-1) + 1

    def tail_verbs(self) -> set[int]:
        """Return the verb classes with few training instances; none if a tail list is missing."""
        return self._tail[0]

    def tail_nouns(self) -> set[int]:
        """Return the noun classes with few training instances; none if a tail list is missing."""
        return self._tail[1]

    @cached_property
    def _tail(self) -> tuple[set[int], set[int]]:
        # One list alone would make some tail actions look like others.
        if not self._has("EPIC_100_tail_verbs.csv", "EPIC_100_tail_nouns.csv", part="tail"):
            return set(), set()
        verbs = read_csv(self._folder / "EPIC_100_tail_verbs.csv", ("verb",))
        nouns = read_csv(self._folder / "EPIC_100_tail_nouns.csv", ("noun",))
        return {row.integer("verb") for row in verbs}, {row.integer("noun") for row in nouns}

    def unseen_participants(self) -> set[str]:
        """Return the participants of validation videos alone; none if their list is missing."""
        return self._unseen

    @cached_property
    def _unseen(self) -> set[str]:
        name = "EPIC_100_unseen_participant_ids_validation.csv"
        if not self._has(name, part="unseen"):
            return set()
        rows = read_csv(self._folder / name, ("participant_id",))
        return {row.text("participant_id") for row in rows}

    def _has(self, *names: str, part: str) -> bool:
        """Tell whether the lists of a part that is scored alone are there, and warn if not."""
        missing = [name for name in names if not (self._folder / name).exists()]
        if missing:
            logger.warning(
                "%s: %s is not there, so nothing is scored as %s", self._folder, missing[0], part
            )
        return not missing

    def validation_cells(self, cells_per_second: int) -> dict[str, int]:
        """Return the validation videos, sorted, and how many cells each has.

        ``video_lengths.csv`` (video_id, num_frames) counts cells and may list videos without any
        action; those of the training records are left out. Without it the annotated videos count,
        and the duration of ``EPIC_100_video_info.csv`` is rounded up so that no tail is lost.

        Raises:
            AnnotationError: An annotated video has no length.
        """
        annotated = {action.video_id for action in self.actions("val")}
        path = self._folder / "video_lengths.csv"
        if path.exists():
            rows = read_csv(path, ("video_id", "num_frames"))
            cells = {row.text("video_id"): row.integer("num_frames") for row in rows}
            videos = annotated | (set(cells) - self._training_videos())
        else:
            path = self._folder / "EPIC_100_video_info.csv"
            rows = read_csv(path, ("video_id", "duration"))
            cells = {
                row.text("video_id"): math.ceil(_duration(row) * cells_per_second) for row in rows
            }
            videos = annotated
        missing = sorted(videos - set(cells))
        if missing:
            raise AnnotationError(
                f"{path}: video '{missing[0]}' is missing, but "
                f"{ACTION_FILES['val']} has actions in it."
            )
        return {video_id: cells[video_id] for video_id in sorted(videos)}

    def durations(self) -> dict[str, float]:
        """Return the seconds of each video, if ``EPIC_100_video_info.csv`` is there."""
        path = self._folder / "EPIC_100_video_info.csv"
        rows = read_csv(path, ("video_id", "duration")) if path.exists() else []
        return {row.text("video_id"): _duration(row) for row in rows}

    def _training_videos(self) -> set[str]:
        if not (self._folder / ACTION_FILES["train"]).exists():
            return set()
        return {action.video_id for action in self.actions("train")}

    def _class_names(self, name: str) -> dict[int, str] | None:
        """Return id -> key of a list of classes; None if there is no such list."""
        path = self._folder / name
        if not path.exists():
            return None
        return {row.integer("id"): row.text("key") for row in read_csv(path, ("id", "key"))}


def parse_timestamp(text: str) -> float | None:
    """Return the seconds of HH:MM:SS.ff with any number of decimals; None if it is none.

    Examples:
        >>> parse_timestamp("01:00:02.25"), parse_timestamp("1:2")
        (3602.25, None)
    """
    match = TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds, decimals = match.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    # One division, hence one rounding: a time on the grid of cells stays exactly on it.
    digits = decimals or "0"
    scale: int = 10 ** len(digits)
    return (whole * scale + int(digits)) / scale


def by_video(segments: Sequence[Narrated]) -> dict[str, list[Narrated]]:
    """Return segments that are sorted by video, video by video."""
    return {video: list(group) for video, group in groupby(segments, attrgetter("video_id"))}


def _in_order(
    path: Path, columns: Sequence[str], made: Callable[[CsvRow], Narrated]
) -> list[Narrated]:
    """Return what is made of each record, by video, then start, then narration id."""
    rows = read_csv(path, columns)
    if not rows:
        raise AnnotationError(f"{path}: the file holds no record, expected one per action.")
    found: dict[str, Narrated] = {}
    for row in rows:
        one = made(row)
        if one.narration_id in found:
            raise row.error("narration_id", one.narration_id, "an id not used above")
        found[one.narration_id] = one
    return sorted(
        found.values(), key=lambda one: (one.video_id, one.start_seconds, one.narration_id)
    )


def _segment(row: CsvRow) -> NarratedSegment:
    start_seconds, end_seconds = (
        _timestamp(row, field) for field in ("start_timestamp", "stop_timestamp")
    )
    if end_seconds < start_seconds:
        got = row.text("stop_timestamp")
        raise row.error("stop_timestamp", got, f"at least {row.text('start_timestamp')}, the start")
    return NarratedSegment(
        narration_id=row.text("narration_id"),
        participant_id=row.text("participant_id"),
        video_id=row.text("video_id"),
        start_seconds=start_seconds,
        end_seconds=end_seconds,
    )


def _timestamp(row: CsvRow, field: str) -> float:
    seconds = parse_timestamp(row.text(field))
    if seconds is None:
        raise row.error(field, row.text(field), "HH:MM:SS.ff")
    return seconds


def _duration(row: CsvRow) -> float:
    text = row.text("duration")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise row.error("duration", text, "seconds above 0")
    return seconds


def _check_class(row: CsvRow, field: str, known: Collection[int] | None) -> None:
    if known is not None and row.integer(field) not in known:
        raise row.error(field, row.integer(field), f"an id of the {len(known)} classes")


def _read_pairs(path: Path, columns: tuple[str, str]) -> list[VerbNoun]:
    """Return the pairs by id; ids must run from 0 without a gap and no pair may repeat."""
    verb, noun = columns
    ids: dict[VerbNoun, int] = {}
    for row in read_csv(path, ("id", *columns)):
        pair = row.integer(verb), row.integer(noun)
        if pair in ids:
            raise row.error(verb, f"{pair}", "a (verb, noun) pair not used above")
        ids[pair] = row.integer("id")
    if sorted(ids.values()) != list(range(len(ids))):
        raise AnnotationError(
            f"{path}: the ids repeat or have a gap, expected each of 0 to {len(ids) - 1} once."
        )
    return sorted(ids, key=ids.__getitem__)
