"""Ego4D's natural-language queries, version 1 and 2.

Published: clips and queries of version 1 (998 and 328 clips; 11,291 and 3,875 queries), 13
templates, 343 of the 3,875 validation answers without length, median 3.0 s and mean 9.0 s of all.
Reported for version 2: 1,271 and 415 clips, 13,849 and 4,552 queries. Assumed: the other quantiles,
two annotators a clip, one query in a thousand without text.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import apportioned, random_uuid, words
from benchmarks.stand_ins.ego4d_clips import Clip, clip_entry, document, draw_clips, videos_of
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import draw

__all__ = ["NLQ_V1", "NLQ_V2"]

ANSWER_SECONDS = (
    *(0.1, 0.3, 0.5, 0.8, 1.1, 1.5, 1.9, 2.3, 2.8, 3.3, 3.9),
    *(4.6, 5.4, 6.4, 7.7, 9.3, 11.5, 14.8, 20, 32, 150),
)
"""Every twentieth of the answers that last is shorter than the next of these."""
WITHOUT_LENGTH = 343 / 3875
WITHOUT_TEXT = 1 / 1000
ANNOTATORS = 2
TEMPLATES = (
    *("where did i put the {}?", "where is the {} before i touched it?", "where was the {}?"),
    *("what did i put in the {}?", "how many {} are there on the table?", "what is {} made of?"),
    *("in what place did i see the {}?", "what colour has the {} that i took?"),
    *("did i close the {}?", "who gave me the {}?", "when did i speak with the man with {}?"),
    *("what did i take from the {}?", "which {} did i use?"),
)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of a subset."""

    clips: int
    queries: int


VERSIONS = {
    1: {"train": Counts(clips=998, queries=11_291), "val": Counts(clips=328, queries=3_875)},
    2: {"train": Counts(clips=1_271, queries=13_849), "val": Counts(clips=415, queries=4_552)},
}


def _writer(version: int) -> Callable[[Path, float, np.random.Generator], list[Video]]:
    def write(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
        videos = []
        for subset, counts in VERSIONS[version].items():
            clips = draw_clips(scaled(counts.clips, share), rng)
            numbers = apportioned(scaled(counts.queries, share), np.ones(len(clips)), rng)
            entries = [
                (clip, clip_entry(clip, _annotations(clip, number, rng)))
                for clip, number in zip(clips, numbers.tolist(), strict=True)
            ]
            text = json.dumps(document(entries, subset))
            (folder / f"nlq_{subset}.json").write_text(text, encoding="utf-8")
            videos += videos_of(clips)
        return videos

    return write


def _annotations(clip: Clip, count: int, rng: np.random.Generator) -> list[dict[str, object]]:
    queries = [_query(clip, rng) for _ in range(count)]
    parts = [queries[first::ANNOTATORS] for first in range(ANNOTATORS)]
    return [
        {"annotation_uid": random_uuid(rng), "language_queries": part} for part in parts if part
    ]


def _query(clip: Clip, rng: np.random.Generator) -> dict[str, object]:
    (seconds,) = draw(ANSWER_SECONDS, 1, rng).tolist()
    start = rng.random() * max(0.0, clip.seconds - seconds)
    end = start if rng.random() < WITHOUT_LENGTH else min(start + seconds, clip.seconds)
    template = TEMPLATES[rng.integers(len(TEMPLATES))]
    slot = words(1 + int(rng.integers(2)), rng)
    return {
        "clip_start_sec": start,
        "clip_end_sec": end,
        "video_start_sec": clip.start + start,
        "video_end_sec": clip.start + end,
        "video_start_frame": round((clip.start + start) * 30),
        "video_end_frame": round((clip.start + end) * 30),
        "template": template,
        "query": None if rng.random() < WITHOUT_TEXT else template.format(slot),
        "slot_x": slot,
        "verb_x": None,
        "raw_tags": [template, slot, None],
    }


def _stand_in(version: int, *, has_newer: bool) -> StandIn:
    return StandIn(
        write_annotations=_writer(version),
        features=Features(
            name="slowfast", width=2304, fps=Fraction(30), window_frames=32, stride_frames=16
        ),
        uses=(Use(task="natural_language_query"),),
        has_newer=has_newer,
    )


NLQ_V1 = _stand_in(1, has_newer=True)
NLQ_V2 = _stand_in(2, has_newer=False)
