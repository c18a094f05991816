"""Breakfast, in MS-TCN's layout.

Published: 1,712 videos of 52 people, 10 activities, 48 classes, four splits by people, 15 label
frames a second. Measured on the official files: videos of each split and activity, 3.6 million
frames by the quantiles below, number of segments; every video begins and ends with SIL, bundles
open with "#bundle" and list paths. Assumed: which classes an activity has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import apportioned
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import draw

__all__ = ["BREAKFAST"]

SPLIT_VIDEOS = (252, 451, 433, 576)
FIRST_PERSON, PEOPLE_PER_SPLIT = 3, 13
NUM_CLASSES = 48
CAMERAS = ("cam01", "webcam01", "webcam02", "stereo01", "cam02")
LABELS_PER_SECOND = 15
STRAIGHT = 0.94
"""Real videos are shorter than straight lines between the quartiles of their activity say."""
SEGMENTS = (3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 8, 9, 9, 10, 11, 12, 25)
"""Every twentieth of the videos has fewer than the next of these."""


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What people were asked to prepare."""

    name: str
    videos: int
    frames: Sequence[int]
    """Shortest, quartiles, longest."""
    classes: int
    """SIL is one of them."""


ACTIVITIES = (
    Activity(name="milk", videos=187, frames=(500, 747, 929, 1069, 2528), classes=5),
    Activity(name="cereals", videos=184, frames=(372, 525, 711, 836, 1428), classes=5),
    Activity(name="tea", videos=184, frames=(265, 446, 664, 973, 1665), classes=7),
    Activity(name="friedegg", videos=173, frames=(1559, 2425, 2904, 3302, 8347), classes=9),
    Activity(name="sandwich", videos=169, frames=(675, 1109, 1487, 1850, 3558), classes=9),
    Activity(name="coffee", videos=167, frames=(186, 363, 590, 808, 1212), classes=7),
    Activity(name="scrambledegg", videos=166, frames=(1210, 2272, 2951, 3598, 7914), classes=12),
    Activity(name="salat", videos=163, frames=(1254, 2712, 3435, 4140, 5697), classes=8),
    Activity(name="juice", videos=162, frames=(605, 1215, 1468, 1635, 2951), classes=8),
    Activity(name="pancake", videos=157, frames=(2874, 4580, 5845, 7053, 9745), classes=14),
)


def write_annotations(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
    """Write the official files; return all videos."""
    names = ["SIL", *(f"do_step{index:02d}" for index in range(1, NUM_CLASSES))]
    mapping = "".join(f"{index} {name}\n" for index, name in enumerate(names))
    (folder / "mapping.txt").write_text(mapping, encoding="utf-8")
    (folder / "groundTruth").mkdir()
    splits, videos = [], []
    for split, count in enumerate(SPLIT_VIDEOS):
        own = _ids(split, scaled(count, share), rng)
        splits.append(list(own))
        for video_id, activity in own.items():
            labels = _labels(activity, names, rng)
            path = folder / "groundTruth" / f"{video_id}.txt"
            path.write_text("\n".join(labels) + "\n", encoding="utf-8")
            videos.append(Video(id=video_id, seconds=len(labels) / LABELS_PER_SECOND))
    _write_bundles(folder / "splits", splits)
    return videos


def _ids(split: int, count: int, rng: np.random.Generator) -> dict[str, int]:
    """Return the videos of a split and the activity of each."""
    weights = np.array([activity.videos for activity in ACTIVITIES], float)
    ids: dict[str, int] = {}
    while len(ids) < count:
        person = FIRST_PERSON + split * PEOPLE_PER_SPLIT + int(rng.integers(PEOPLE_PER_SPLIT))
        activity = int(rng.choice(len(ACTIVITIES), p=weights / weights.sum()))
        camera = CAMERAS[rng.integers(len(CAMERAS))]
        ids[f"P{person:02d}_{camera}_P{person:02d}_{ACTIVITIES[activity].name}"] = activity
    return ids


def _labels(number: int, names: Sequence[str], rng: np.random.Generator) -> list[str]:
    activity = ACTIVITIES[number]
    num_frames, num_segments = (
        int(draw(values, 1, rng)[0]) for values in (activity.frames, SEGMENTS)
    )
    first = sum(one.classes - 1 for one in ACTIVITIES[:number])
    own = [1 + (first + index) % (NUM_CLASSES - 1) for index in range(activity.classes - 1)]
    steps = np.sort(rng.choice(own, num_segments - 2)).tolist()
    lengths = apportioned(
        round(STRAIGHT * num_frames), rng.random(num_segments) + 0.1, rng
    ).tolist()
    return [
        names[step]
        for step, length in zip([0, *steps, 0], lengths, strict=True)
        for _ in range(length)
    ]


def _write_bundles(folder: Path, splits: Sequence[Sequence[str]]) -> None:
    folder.mkdir()
    for number, test in enumerate(splits, start=1):
        train = [video for other in splits if other is not test for video in other]
        for side, videos in (("train", train), ("test", test)):
            lines = ["#bundle", *(f"./data/groundTruth/{video}.txt" for video in videos)]
            path = folder / f"{side}.split{number}.bundle"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


BREAKFAST = StandIn(
    write_annotations=write_annotations,
    features=Features(name="i3d", width=2048, fps=Fraction(LABELS_PER_SECOND)),
    uses=(Use(task="action_segmentation"),),
)
"""Features as MS-TCN's: I3D of both streams, one row per label frame."""
