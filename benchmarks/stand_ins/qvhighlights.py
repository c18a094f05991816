"""QVHighlights.

Published: 7,218, 1,550 and 1,542 queries about 7,100, 1,519 and (assumed in proportion) 1,511
videos. Measured on the official files: the share of videos of 150 s, moments of a query, their
length, words of a query, scores; no file ends with a newline.
"""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.stand_ins.drawing import random_uuid, words
from benchmarks.stand_ins.stand_in import Features, StandIn, Use, Video, scaled
from benchmarks.training_padding import QVHIGHLIGHTS_WORDS, draw

__all__ = ["QVHIGHLIGHTS"]

QUERIES = {"train": 7_218, "val": 1_550, "test": 1_542}
VIDEOS = {"train": 7_100, "val": 1_519, "test": 1_511}
WHOLE = 0.97
"""Share of videos of 150 s; the others have 120 to 148."""
VIDEOS_PER_SOURCE = 7_100 / 2_214
CLIP_SECONDS = 2
MOMENTS = {1: 0.672, 2: 0.170, 3: 0.065, 4: 0.037, 5: 0.02, 7: 0.02, 12: 0.016}
"""Moments of a query -> share of the queries."""
MOMENT_SECONDS = (
    *(2, 2, 2, 4, 6, 6, 8, 10, 12, 14, 16),
    *(18, 22, 24, 26, 30, 34, 42, 54, 88, 150),
)
"""Every twentieth of the moments is shorter than the next of these."""
SALIENCY = (0.032, 0.073, 0.185, 0.306, 0.404)
"""How often an annotator gives 0 to 4."""


def write_annotations(folder: Path, share: float, rng: np.random.Generator) -> list[Video]:
    """Write the official files; return all videos, those of the test included."""
    videos: list[Video] = []
    qid = 0
    for subset, count in QUERIES.items():
        own = list(_videos(scaled(VIDEOS[subset], share), rng))
        lines = []
        for number in range(scaled(count, share)):
            qid += 1
            query = _query(qid, own[number % len(own)], rng)
            if subset == "test":
                query = {key: query[key] for key in ("qid", "query", "duration", "vid")}
            lines.append(json.dumps(query))
        path = folder / f"highlight_{subset}_release.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        videos += own
    return videos


def _videos(count: int, rng: np.random.Generator) -> Iterator[Video]:
    sources = [
        random_uuid(rng).replace("-", "_")[:11] for _ in range(round(count / VIDEOS_PER_SOURCE) + 1)
    ]
    for number in range(count):
        is_whole = rng.random() < WHOLE
        seconds = 150 if is_whole else int(rng.integers(60, 75)) * CLIP_SECONDS
        start = float(150 * (number // len(sources)))
        name = f"{sources[number % len(sources)]}_{start}_{start + 150}"
        yield Video(id=name, seconds=seconds)


def _query(qid: int, video: Video, rng: np.random.Generator) -> dict[str, object]:
    num_clips = int(video.seconds) // CLIP_SECONDS
    windows = _windows(num_clips, rng)
    clips = [clip for start, end in windows for clip in range(start, end)]
    scores = rng.choice(len(SALIENCY), (len(clips), 3), p=SALIENCY).tolist()
    (length,) = draw(QVHIGHLIGHTS_WORDS, 1, rng).round().astype(int).tolist()
    return {
        "qid": qid,
        "query": words(length, rng),
        "duration": int(video.seconds),
        "vid": video.id,
        "relevant_clip_ids": clips,
        "saliency_scores": scores,
        "relevant_windows": [[CLIP_SECONDS * start, CLIP_SECONDS * end] for start, end in windows],
    }


def _windows(num_clips: int, rng: np.random.Generator) -> Sequence[tuple[int, int]]:
    """Return first clips and those behind the last ones, in their order and apart."""
    count = int(rng.choice(list(MOMENTS), p=np.array(list(MOMENTS.values()))))
    relevant = np.zeros(num_clips, bool)
    for seconds in draw(MOMENT_SECONDS, count, rng).tolist():
        length = min(num_clips, max(1, round(seconds / CLIP_SECONDS)))
        start = int(rng.integers(num_clips - length + 1))
        relevant[start : start + length] = True
    edges = np.flatnonzero(np.diff(relevant, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


QVHIGHLIGHTS = StandIn(
    write_annotations=write_annotations,
    features=Features(name="slowfast_clip", width=2304 + 512, fps=Fraction(1, 2)),
    uses=(Use(task="highlight_detection"),),
)
"""Features as Moment-DETR's: SlowFast and CLIP side by side, a row for every clip."""
