"""EPIC-KITCHENS-100.

Published: 700 videos of 100 h, of which 495 and 138 are training and validation videos with 67,217
and 9,668 actions; 97 verbs, 300 nouns, 86 and 228 of them tail. Measured on the official files:
3,568 pairs of verb and noun in training, 1,352 in validation, 238 of these never in training; all
quantiles and frequencies below. Actions start anywhere in their video, independently of each other.

``every_video`` beside them is what no benchmark asks for: all 633 videos as validation videos, with
as many actions as there are in all, of the pairs of validation. It has 1.3 million cells.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import apportioned, classes_by_weight, weights_by_rank
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import EK100_SECONDS, draw

__all__ = ["EPIC100", "write_annotations"]

VIDEOS = {"train": 495, "val": 138, "test": 67}
HOURS = {"train": 74.7, "val": 13.2, "test": 12.1}
ACTIONS = {"train": 67_217, "val": 9_668}
FILES = {"train": "EPIC_100_train.csv", "val": "EPIC_100_validation.csv"}
NUM_VERBS, NUM_NOUNS = 97, 300
TAIL_VERBS, TAIL_NOUNS = 86, 228
PAIRS = {"both": 1_114, "train": 2_454, "val": 238}
"""Pairs of verb and noun that occur in both subsets, in one of them only."""

VAL_SECONDS = (
    *(11, 32, 54, 62, 70, 90, 105, 122, 160, 190, 210),
    *(240, 275, 365, 410, 467, 510, 563, 802, 1169, 1969),
)
"""Every twentieth of the validation videos is shorter than the next of these."""
ACTION_SECONDS = (
    *(0.2, 0.57, 0.7, 0.77, 0.87, 0.97, 1.07, 1.17, 1.27, 1.43, 1.57),
    *(1.77, 2.0, 2.27, 2.63, 3.13, 3.87, 4.93, 6.77, 10.5, 297),
)
"""The same of training actions."""
VERB_COUNTS = {0: 14848, 1: 12225, 2: 6927, 4: 3483, 9: 1652, 19: 367, 49: 73, 96: 1}
NOUN_COUNTS = {0: 3617, 1: 2457, 4: 2210, 9: 1534, 19: 919, 49: 389, 96: 131, 199: 21, 299: 1}
PAIR_COUNTS = {
    **dict(zip((0, 1, 2, 4, 9, 19, 49), (1784, 1588, 1342, 919, 742, 515, 239), strict=True)),
    **dict(zip((99, 199, 299, 499, 999, 1999, 3805), (125, 60, 39, 21, 8, 2, 1), strict=True)),
}
"""How often the class of a rank occurs in training."""
NUM_PARTICIPANTS = 37
UNSEEN = ("P18", "P32")
FPS = ("59.9400599400599", "50.0")
COLUMNS = (
    *("narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp"),
    *("stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun"),
    *("noun_class", "all_nouns", "all_noun_classes"),
)

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Videos and records of one."""

    videos: Sequence[Video]
    records: Sequence[tuple[object, ...]]


def write_annotations(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
    """Write the official files; return all videos, those of the test included."""
    pairs = _pairs(rng)
    both, train_only = PAIRS["both"], PAIRS["train"]
    own = {
        "train": pairs[: both + train_only],
        "val": [*pairs[:both], *pairs[both + train_only :]],
    }
    videos = _videos(share, rng)
    subsets = {
        name: Subset(
            videos=videos[name],
            records=list(_records(videos[name], own[name], scaled(ACTIONS[name], share), rng)),
        )
        for name in FILES
    }
    every = [one for name in VIDEOS for one in videos[name]]
    for name, subset in subsets.items():
        _write_csv(folder / FILES[name], COLUMNS, subset.records)
    _write_lists(folder, every, rng)
    known = [*videos["train"], *videos["val"]]
    records = _records(known, own["val"], scaled(sum(ACTIONS.values()), share), rng)
    _write_csv(folder / "every_video" / FILES["val"], COLUMNS, records)
    _write_csv(folder / "every_video" / FILES["train"], COLUMNS, subsets["train"].records)
    _write_lists(folder / "every_video", every, rng)
    return every


def _pairs(rng: np.random.Generator) -> list[Pair]:
    """Return the different pairs, frequent ones first; every verb and every noun is in one."""
    verbs = rng.choice(NUM_VERBS, 400_000, p=weights_by_rank(VERB_COUNTS, NUM_VERBS))
    nouns = rng.choice(NUM_NOUNS, 400_000, p=weights_by_rank(NOUN_COUNTS, NUM_NOUNS))
    rare = dict.fromkeys((noun % NUM_VERBS, noun) for noun in range(NUM_NOUNS))
    drawn = dict.fromkeys(zip(verbs.tolist(), nouns.tolist(), strict=True))
    frequent = [pair for pair in drawn if pair not in rare]
    return [*frequent[: sum(PAIRS.values()) - len(rare)], *rare]


def _videos(share: float, rng: np.random.Generator) -> dict[str, list[Video]]:
    """Return the videos of each subset; only validation has the unseen participants."""
    numbers: dict[str, int] = {}
    found = {}
    for name, quantiles in (("train", EK100_SECONDS), ("val", VAL_SECONDS), ("test", VAL_SECONDS)):
        count = scaled(VIDEOS[name], share)
        seconds = draw(quantiles, count, rng)
        seconds *= HOURS[name] * 3600 / VIDEOS[name] / seconds.mean()
        found[name] = [
            Video(id=_video_id(_participant(name, number), numbers), seconds=round(value, 6))
            for number, value in enumerate(seconds.tolist())
        ]
    return found


def _participant(subset: str, number: int) -> str:
    if subset == "val" and number < len(UNSEEN):
        return UNSEEN[number]
    names = [f"P{one:02d}" for one in range(1, NUM_PARTICIPANTS + 1)]
    return [name for name in names if name not in UNSEEN][number % (NUM_PARTICIPANTS - 2)]


def _video_id(participant: str, numbers: dict[str, int]) -> str:
    """Name the next video: half of them have three digits, as the extension of 2020 has."""
    number = numbers[participant] = numbers.get(participant, 0) + 1
    return f"{participant}_{100 + number // 2 if number % 2 else number:02d}"


def _records(
    videos: Sequence[Video], pairs: Sequence[Pair], count: int, rng: np.random.Generator
) -> Iterable[tuple[object, ...]]:
    seconds = np.array([video.seconds for video in videos])
    counts = apportioned(count, seconds, rng)
    total = int(counts.sum())
    classes = classes_by_weight(weights_by_rank(PAIR_COUNTS, len(pairs)), total, rng)
    lengths = draw(ACTION_SECONDS, total, rng)
    others = rng.integers(NUM_NOUNS, size=total)
    starts = rng.random(total)
    place = 0
    for video, number in zip(videos, counts.tolist(), strict=True):
        order = np.sort(starts[place : place + number]) * max(0.0, video.seconds - 0.2)
        for index, start in enumerate(order.tolist()):
            end = min(start + lengths[place], video.seconds)
            pair = pairs[classes[place]]
            yield _record(video.id, index, start, end, pair, int(others[place]))
            place += 1


def _record(
    video_id: str, index: int, start: float, end: float, pair: Pair, other: int
) -> tuple[object, ...]:
    verb, noun = pair
    nouns = [noun, other] if other % 6 == 0 else [noun]  # two of them hold a comma
    return (
        f"{video_id}_{index}",
        video_id.partition("_")[0],
        video_id,
        f"{_timestamp(start)}0",
        _timestamp(start),
        _timestamp(max(end, start + 0.01)),
        round(start * 60) + 1,
        round(end * 60) + 1,
        f"verb{verb:02d} noun{noun:03d}",
        f"verb{verb:02d}",
        verb,
        f"noun{noun:03d}",
        noun,
        [f"noun{one:03d}" for one in nouns],
        nouns,
    )


def _timestamp(seconds: float) -> str:
    hundredths = int(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"


def _write_lists(folder: Path, videos: Sequence[Video], rng: np.random.Generator) -> None:
    """Write what stands beside the records; the tail are the classes drawn least."""
    for kind, count, tail in (
        ("verb", NUM_VERBS, TAIL_VERBS),
        ("noun", NUM_NOUNS, TAIL_NOUNS),
    ):
        width = 2 if kind == "verb" else 3
        rows: list[tuple[object, ...]] = [
            (one, f"{kind}{one:0{width}d}", [f"{kind}-{one}", f"{kind}-{one}-on"], "any")
            for one in range(count)
        ]
        header = ("id", "key", "instances", "category")
        _write_csv(folder / f"EPIC_100_{kind}_classes.csv", header, rows)
        tails = [(one,) for one in range(count - tail, count)]
        _write_csv(folder / f"EPIC_100_tail_{kind}s.csv", (kind,), tails)
    unseen = folder / "EPIC_100_unseen_participant_ids_validation.csv"
    _write_csv(unseen, ("participant_id",), [(one,) for one in UNSEEN])
    info: list[tuple[object, ...]] = [
        (video.id, video.seconds, FPS[int(rng.integers(2))], "1920x1080") for video in videos
    ]
    header = ("video_id", "duration", "fps", "resolution")
    _write_csv(folder / "EPIC_100_video_info.csv", header, info)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


EPIC100 = StandIn(
    write_annotations=write_annotations,
    features=Features(name="tsn", width=1024, fps=Fraction(4)),
    uses=(
        Use(task="online_action_detection"),
        Use(task="action_anticipation"),
        Use(task="online_action_detection", annotations="every_video"),
    ),
)
"""Features as TeSTra's: a TSN on RGB, 4 rows a second."""
