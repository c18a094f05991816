"""Ego4D's moment queries, version 1 and 2.

Published: 110 classes; of version 1 1,486 and 521 clips with about 13,600 and 4,300 primary
moments. Assumed: version 2 is larger by 27 %, as the queries are; how long moments last, how
frequent classes are, and that per primary label there is 0.4 of another kind and that one in ten
is there twice, from a second annotator; that one clip in fifty has no label.
"""

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import (
    apportioned,
    classes_by_weight,
    random_uuid,
    weights_by_rank,
)
from benchmarks.stand_ins.ego4d_clips import Clip, clip_entry, document, draw_clips, videos_of
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import draw

__all__ = ["MQ_V1", "MQ_V2"]

CLIPS = {"train": 1_486, "val": 521}
MOMENTS = {"train": 13_600, "val": 4_300}
SIZES = {1: 1.0, 2: 1.27}
"""Of a version, relative to the first one."""
NUM_CLASSES = 110
CLASS_COUNTS = {0: 900, 9: 350, 29: 120, 59: 50, 109: 8}
MOMENT_SECONDS = (0.5, 1, 2, 3, 5, 7, 10, 14, 20, 30, 45, 70, 110, 200, 480)
OTHER_LABELS = 0.4
TWICE = 0.1
WITHOUT_LABEL = 0.02


def _writer(version: int) -> Callable[[Path, float, np.random.Generator], list[Video]]:
    def write(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
        videos = []
        size = SIZES[version] * share
        for subset, count in CLIPS.items():
            clips = draw_clips(scaled(count, size), rng)
            numbers = apportioned(scaled(MOMENTS[subset], size), np.ones(len(clips)), rng)
            weights = weights_by_rank(CLASS_COUNTS, NUM_CLASSES)
            classes = iter(classes_by_weight(weights, int(numbers.sum()), rng).tolist())
            entries = [
                (clip, clip_entry(clip, _annotations(clip, number, classes, rng)))
                for clip, number in zip(clips, numbers.tolist(), strict=True)
            ]
            without = draw_clips(scaled(count, size * WITHOUT_LABEL), rng)
            entries += [(clip, clip_entry(clip, [])) for clip in without]
            text = json.dumps(document(entries, subset))
            (folder / f"moments_{subset}.json").write_text(text, encoding="utf-8")
            videos += videos_of([*clips, *without])
        return videos

    return write


def _annotations(
    clip: Clip, count: int, classes: Iterator[int], rng: np.random.Generator
) -> list[dict[str, object]]:
    labels = [_label(clip, next(classes), rng) for _ in range(count)]
    again = [label for label in labels if rng.random() < TWICE]
    others = [
        {**_label(clip, int(rng.integers(NUM_CLASSES)), rng), "primary": False}
        for _ in range(rng.binomial(count, OTHER_LABELS))
    ]
    return [
        {"annotator_uid": random_uuid(rng), "labels": part} for part in (labels, again + others)
    ]


def _label(clip: Clip, class_id: int, rng: np.random.Generator) -> dict[str, object]:
    (seconds,) = draw(MOMENT_SECONDS, 1, rng).tolist()
    start = rng.random() * max(0.0, clip.seconds - seconds)
    end = min(start + seconds, clip.seconds)
    return {
        "start_time": start,
        "end_time": end,
        "label": f"do_/_undo_moment_{class_id:03d}_(e.g._this)",
        "video_start_time": clip.start + start,
        "video_end_time": clip.start + end,
        "video_start_frame": round((clip.start + start) * 30),
        "video_end_frame": round((clip.start + end) * 30),
        "primary": True,
    }


def _stand_in(version: int, *, has_newer: bool) -> StandIn:
    return StandIn(
        write_annotations=_writer(version),
        features=Features(
            name="slowfast", width=2304, fps=Fraction(30), window_frames=32, stride_frames=16
        ),
        uses=(Use(task="moment_query"),),
        has_newer=has_newer,
    )


MQ_V1 = _stand_in(1, has_newer=True)
MQ_V2 = _stand_in(2, has_newer=False)
