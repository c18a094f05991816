"""Ego4D's long-term anticipation, version 1 and 2.

Published: 115 verbs and 478 nouns, 117 and 521 in version 2; 3,472 annotated clips of 243 h with
the test's. Assumed: 60 % and 20 % of the clips are training and validation; version 2 is larger by
27 %, as the queries are; 40 actions a clip; frequencies as in EPIC-KITCHENS-100.
"""

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import apportioned, classes_by_weight, weights_by_rank
from benchmarks.stand_ins.ego4d_clips import FRAME_RATE, Clip, draw_clips, videos_of
from benchmarks.stand_ins.epic100 import ACTION_SECONDS, NOUN_COUNTS, VERB_COUNTS
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import draw

__all__ = ["LTA_V1", "LTA_V2"]

CLIPS = {"train": 2_083, "val": 694}
SIZES = {1: 1.0, 2: 1.27}
"""Of a version, relative to the first one."""
CLASSES = {1: (115, 478), 2: (117, 521)}
"""Verbs and nouns."""
CLIP_SECONDS = (30, 130, 230, 295, 300, 300, 300, 300, 300, 300)
ACTIONS_PER_CLIP = 40


def _writer(version: int) -> Callable[[Path, float, np.random.Generator], list[Video]]:
    def write(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
        num_verbs, num_nouns = CLASSES[version]
        taxonomy = {
            "verbs": [f"verb_{index}_(do,_undo)" for index in range(num_verbs)],
            "nouns": [f"noun_{index}" for index in range(num_nouns)],
        }
        (folder / "fho_lta_taxonomy.json").write_text(json.dumps(taxonomy), encoding="utf-8")
        videos = []
        for subset, count in CLIPS.items():
            clips = draw_clips(scaled(count, share * SIZES[version]), rng, CLIP_SECONDS)
            entries = list(_entries(clips, num_verbs, num_nouns, rng))
            text = json.dumps({"version": "stand-in", "split": subset, "clips": entries})
            (folder / f"fho_lta_{subset}.json").write_text(text, encoding="utf-8")
            videos += videos_of(clips)
        return videos

    return write


def _entries(
    clips: list[Clip], num_verbs: int, num_nouns: int, rng: np.random.Generator
) -> Iterator[dict[str, object]]:
    seconds = np.array([clip.seconds for clip in clips])
    counts = apportioned(ACTIONS_PER_CLIP * len(clips), seconds, rng)
    total = int(counts.sum())
    verbs = classes_by_weight(weights_by_rank(VERB_COUNTS, num_verbs), total, rng).tolist()
    nouns = classes_by_weight(weights_by_rank(NOUN_COUNTS, num_nouns), total, rng).tolist()
    lengths = draw(ACTION_SECONDS, total, rng).tolist()
    place = 0
    for number, (clip, count) in enumerate(zip(clips, counts.tolist(), strict=True)):
        for index, start in enumerate(np.sort(rng.random(count) * clip.seconds).tolist()):
            end = min(start + lengths[place], clip.seconds)
            yield _entry(clip, number, index, (start, end), (verbs[place], nouns[place]))
            place += 1


def _entry(
    clip: Clip, number: int, index: int, seconds: tuple[float, float], action: tuple[int, int]
) -> dict[str, object]:
    verb, noun = action
    times: dict[str, object] = {}
    for name, (start, end) in {
        "clip_parent": (clip.start, clip.end),
        "interval": (clip.start, clip.end),
        "action_clip": seconds,
    }.items():
        times |= {
            f"{name}_start_sec": start,
            f"{name}_end_sec": end,
            f"{name}_start_frame": round(start * FRAME_RATE),
            f"{name}_end_frame": round(end * FRAME_RATE),
        }
    return {
        "video_uid": clip.video_id,
        "clip_uid": clip.id,
        **times,
        "clip_id": number,
        "action_idx": index,
        "verb": f"verb_{verb}_(do,_undo)",
        "noun": f"noun_{noun}",
        "verb_label": verb,
        "noun_label": noun,
    }


def _stand_in(version: int, *, has_newer: bool) -> StandIn:
    return StandIn(
        write_annotations=_writer(version),
        features=Features(
            name="egovlp", width=256, fps=Fraction(30), window_frames=32, stride_frames=16
        ),
        uses=(Use(task="long_term_anticipation"),),
        has_newer=has_newer,
    )


LTA_V1 = _stand_in(1, has_newer=True)
LTA_V2 = _stand_in(2, has_newer=False)
