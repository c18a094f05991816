"""Ego4D's narrations, version 1 and 2 of the file.

Published: 3.85 million sentences in two passes over 3,670 h. Reported: 9,611 narrated videos.
Assumed: how long videos are, that sentences lie evenly, one entry in a thousand without text, 40
redacted videos, an uid for each pass. ``splits.json`` is ours, since Ego4D has no captioning
split; here a hundredth of the videos validates.
"""

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import NOUNS, apportioned, random_uuid
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import draw

__all__ = ["NARRATIONS_V1", "NARRATIONS_V2"]

VIDEOS, REDACTED = 9_611, 40
NARRATIONS = 3_850_000
MEAN_SECONDS = 3_670 * 3600 / VIDEOS
VIDEO_SECONDS = (10, 120, 240, 360, 480, 600, 900, 1500, 2100, 3000, 7200)
WITHOUT_TEXT = 1 / 1000
VAL_SHARE = 0.01
VERBS = [
    "picks",
    "drops",
    "holds",
    "moves",
    "turns",
    "opens",
    "closes",
    "wipes",
    "cuts",
    "folds",
    "washes",
    "lifts",
    "puts",
    "adjusts",
    "touches",
    "throws",
    "pulls",
    "pushes",
    "ties",
    "rubs",
]
PLACES = ("", " on the table", " from the shelf", " with both hands", " in her left hand")
PREDICTED_ROWS = 3_000
"""Of validation: writing a caption calls the LLM as often as it has words."""


def _writer(version: int) -> Callable[[Path, float, np.random.Generator], list[Video]]:
    def write(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
        count = scaled(VIDEOS, share)
        seconds = draw(VIDEO_SECONDS, count, rng)
        seconds *= MEAN_SECONDS / seconds.mean()
        videos = [Video(id=random_uuid(rng), seconds=one) for one in seconds.tolist()]
        numbers = apportioned(scaled(NARRATIONS, share), seconds, rng).tolist()
        with (folder / "narration.json").open("w", encoding="utf-8") as file:
            opening, closing = ("{", "}") if version == 1 else ('{"videos": {', "}}")
            file.write(opening)
            for number, (video, own) in enumerate(zip(videos, numbers, strict=True)):
                text = json.dumps(_passes(version, video, own, rng))
                file.write(f'{", " if number else ""}"{video.id}": {text}')
            for _ in range(REDACTED if version == 1 else 0):
                file.write(f', "{random_uuid(rng)}": {{"status": "redacted"}}')
            file.write(closing)
        names = [video.id for video in videos]
        first = scaled(count, VAL_SHARE)
        splits = {"train": names[first:], "val": names[:first]}
        (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
        return videos

    return write


def _passes(version: int, video: Video, count: int, rng: np.random.Generator) -> dict[str, object]:
    if version == 2:
        return {
            "narrations": list(_sentences("time", "text", "_annotation_uid", video, count, rng))
        }
    names = "timestamp_sec", "narration_text", "annotation_uid"
    return {
        f"narration_pass_{number}": {
            "narrations": list(_sentences(*names, video, own, rng)),
            "summaries": [],
        }
        for number, own in ((1, count - count // 2), (2, count // 2))
    } | {"status": "complete"}


def _sentences(
    seconds_name: str,
    text_name: str,
    uid_name: str,
    video: Video,
    count: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, object]]:
    uid = random_uuid(rng)
    seconds = np.sort(rng.random(count) * video.seconds).tolist()
    verbs, nouns, places, empty = (
        rng.integers(limit, size=count).tolist()
        for limit in (len(VERBS), len(NOUNS), len(PLACES), round(1 / WITHOUT_TEXT))
    )
    for place, second in enumerate(seconds):
        text = f"#C C {VERBS[verbs[place]]} the {NOUNS[nouns[place]]}{PLACES[places[place]]}"
        yield {
            seconds_name: second,
            "timestamp_frame": round(second * 30),
            "_unmapped_timestamp_sec": second,
            text_name: text if empty[place] else " ",
            uid_name: uid,
        }


def _stand_in(version: int, *, has_newer: bool) -> StandIn:
    return StandIn(
        write_annotations=_writer(version),
        features=Features(name="egovlp", width=256, fps=Fraction(1)),
        uses=(Use(task="online_captioning", most_rows=PREDICTED_ROWS),),
        has_newer=has_newer,
    )


NARRATIONS_V1 = _stand_in(1, has_newer=False)
NARRATIONS_V2 = _stand_in(2, has_newer=True)
"""Of equal size; the first one is written in two passes and has the longer entries."""
