"""Write EPIC-KITCHENS-100 files: online action detection and action anticipation.

Data in: `DemoTruth`. Data out: the official csv files, plus `classes.csv` (action id -> verb and
noun id) and `video_lengths.csv` (length in cells of a quarter second), which the public detection
code derives on its own.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from demo.grammar import FRAMES_PER_SECOND, STEP_FRAMES, Segment
from demo.text_file import write_csv
from demo.truth import DemoTruth, VideoTruth
from demo.vocabulary import ACTIONS, NOUN_ID, NOUNS, VERB_ID, VERB_OF_KEY, VERBS

SEGMENT_COLUMNS = (
    "narration_id",
    "participant_id",
    "video_id",
    "narration_timestamp",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
    "narration",
    "verb",
    "verb_class",
    "noun",
    "noun_class",
    "all_nouns",
    "all_noun_classes",
)
CLASS_COLUMNS = ("id", "key", "instances", "category")
CELLS_PER_SECOND = 4
TAIL_SHARE = Fraction(1, 5)
"""EPIC's rule: the rarest classes that together hold this share of the train segments."""


def write_epic(folder: Path, truth: DemoTruth) -> None:
    """Write segments, classes, tails, unseen participants and video lengths into one folder."""
    train, val = truth.of_split("train"), truth.of_split("val")
    write_csv(folder / "EPIC_100_train.csv", SEGMENT_COLUMNS, _segment_rows(train))
    write_csv(folder / "EPIC_100_validation.csv", SEGMENT_COLUMNS, _segment_rows(val))
    verb_rows = [(i, verb.key, str([verb.key]), verb.category) for i, verb in enumerate(VERBS)]
    noun_rows = [(i, noun.key, str([noun.key]), noun.category) for i, noun in enumerate(NOUNS)]
    write_csv(folder / "EPIC_100_verb_classes.csv", CLASS_COLUMNS, verb_rows)
    write_csv(folder / "EPIC_100_noun_classes.csv", CLASS_COLUMNS, noun_rows)
    _write_tails(folder, train)
    write_csv(
        folder / "EPIC_100_unseen_participant_ids_validation.csv",
        ("participant_id",),
        [(truth.unseen_participant_id,)],
    )
    action_rows = [(i, VERB_ID[a.verb], NOUN_ID[a.noun]) for i, a in enumerate(ACTIONS)]
    write_csv(folder / "classes.csv", ("id", "verb_class", "noun_class"), action_rows)
    length_rows = [(video.video_id, _cells(video)) for video in truth.videos]
    write_csv(folder / "video_lengths.csv", ("video_id", "num_frames"), length_rows)


def tail_classes(instances: Counter[int], class_count: int) -> list[int]:
    """Return the rarest classes that hold at most a fifth of all instances, ids ascending."""
    rarest_first = sorted(range(class_count), key=lambda index: (instances[index], index))
    tail: list[int] = []
    held = 0
    for index in rarest_first:
        held += instances[index]
        if held > TAIL_SHARE * instances.total():
            break
        tail.append(index)
    return sorted(tail)


def _write_tails(folder: Path, train: tuple[VideoTruth, ...]) -> None:
    actions = [segment.action for video in train for segment in video.segments]
    verbs = tail_classes(Counter(VERB_ID[action.verb] for action in actions), len(VERBS))
    nouns = tail_classes(Counter(NOUN_ID[action.noun] for action in actions), len(NOUNS))
    write_csv(folder / "EPIC_100_tail_verbs.csv", ("verb",), [(index,) for index in verbs])
    write_csv(folder / "EPIC_100_tail_nouns.csv", ("noun",), [(index,) for index in nouns])


def _segment_rows(videos: tuple[VideoTruth, ...]) -> Iterator[tuple[object, ...]]:
    for video in videos:
        for index, segment in enumerate(video.segments):
            ids = (f"{video.video_id}_{index}", video.participant_id, video.video_id)
            yield (*ids, *_time_fields(segment), *_class_fields(segment))


def _time_fields(segment: Segment) -> tuple[object, ...]:
    return (
        # People name an action a moment before its annotated start.
        _timestamp(segment.start_frame - STEP_FRAMES, decimals=3),
        _timestamp(segment.start_frame, decimals=2),
        _timestamp(segment.end_frame, decimals=2),
        segment.start_frame,
        segment.end_frame,
    )


def _class_fields(segment: Segment) -> tuple[object, ...]:
    verb, noun = segment.action.verb, segment.action.noun
    narration = VERB_OF_KEY[verb].imperative.format(noun)
    return (
        narration.replace("the ", ""),
        verb,
        VERB_ID[verb],
        noun,
        NOUN_ID[noun],
        str([noun]),
        str([NOUN_ID[noun]]),
    )


def _timestamp(frame_number: int, *, decimals: int) -> str:
    """Return HH:MM:SS.ff; exact, because segment bounds are multiples of 0.2 s."""
    scale = 10**decimals
    seconds, part = divmod(frame_number * scale // FRAMES_PER_SECOND, scale)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{part:0{decimals}d}"


def _cells(video: VideoTruth) -> int:
    return video.frame_count * CELLS_PER_SECOND // FRAMES_PER_SECOND
