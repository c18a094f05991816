"""What Ego4D's files of clips have in common: videos, and clips that lie in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.stand_ins.drawing import random_uuid
from benchmarks.stand_ins.stand_in import Video
from benchmarks.training_padding import draw

__all__ = [
    "CLIP_SECONDS",
    "FRAME_RATE",
    "Clip",
    "clip_entry",
    "document",
    "draw_clips",
    "videos_of",
]

CLIP_SECONDS = (60, 300, 460, *(480,) * 14, 480, 540, 840, 1200)
"""Every twentieth of the clips is shorter than the next of these. Published: most last 480 s, the
mean is 499, the longest 1,200; the rest is assumed."""
CLIPS_PER_VIDEO = 328 / 247
"""Of the validation queries."""
FRAME_RATE = 30
WRONG_FRAME = 35_999
"""The last frame of every clip, as in some official files."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One annotated stretch of a video."""

    id: str
    video_id: str
    start: float
    """In the video."""
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def draw_clips(
    count: int, rng: np.random.Generator, quantiles: Sequence[float] = CLIP_SECONDS
) -> list[Clip]:
    """Return clips, those of a video one after the other."""
    videos = max(1, round(count / CLIPS_PER_VIDEO))
    owners = np.sort(np.concatenate([np.arange(videos), rng.integers(videos, size=count - videos)]))
    clips: list[Clip] = []
    for owner, seconds in zip(owners.tolist(), draw(quantiles, count, rng).tolist(), strict=True):
        is_next = clips and owner == owners[len(clips) - 1]
        video_id = clips[-1].video_id if is_next else random_uuid(rng)
        start = clips[-1].end if is_next else round(rng.random() * 30, 3)
        clips.append(Clip(id=random_uuid(rng), video_id=video_id, start=start, end=start + seconds))
    return clips


def videos_of(clips: Sequence[Clip]) -> list[Video]:
    """Return the videos of clips; each ends with its last one."""
    ends: dict[str, float] = {}
    for clip in clips:
        ends[clip.video_id] = max(clip.end, ends.get(clip.video_id, 0.0))
    return [Video(id=name, seconds=end) for name, end in ends.items()]


def clip_entry(clip: Clip, annotations: Sequence[object]) -> dict[str, object]:
    """Return a clip as the files of queries and moments show it."""
    return {
        "clip_uid": clip.id,
        "video_start_sec": clip.start,
        "video_end_sec": clip.end,
        "video_start_frame": round(clip.start * FRAME_RATE),
        "video_end_frame": WRONG_FRAME,
        "clip_start_sec": 0,
        "clip_end_sec": clip.seconds,
        "clip_start_frame": 0,
        "clip_end_frame": WRONG_FRAME,
        "source_clip_uid": clip.id,
        "annotations": list(annotations),
    }


def document(entries: Sequence[tuple[Clip, dict[str, object]]], subset: str) -> dict[str, object]:
    """Return a whole file: videos, and in each its clips."""
    videos: dict[str, list[dict[str, object]]] = {}
    for clip, entry in entries:
        videos.setdefault(clip.video_id, []).append(entry)
    return {
        "version": "stand-in",
        "date": "",
        "description": "generated",
        "manifest": "",
        "videos": [
            {"video_uid": name, "clips": clips, "split": subset} for name, clips in videos.items()
        ],
    }
