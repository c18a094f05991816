"""The ground truth of a demo set: one object from which pixels and all annotation files are made.

Data in: `DemoSpec`. Data out: `DemoTruth`, a tuple of videos with their segments, and views of a
video as scenes (runs of one noun) and clips (pieces of a few scenes, the unit of the query tasks).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

import numpy as np

from demo.grammar import FRAMES_PER_SECOND, Segment, sample_timeline

Split = Literal["train", "val"]

VIDEOS_PER_PARTICIPANT = 4
SHORTEST_VIDEO_SECONDS = 4
"""The first action ends before this, so no video is empty."""
CLIP_FRAMES = 12 * FRAMES_PER_SECOND
"""A clip is cut at the first scene that begins at least this long after the clip's start."""
SHORTEST_CLIP_FRAMES = 6 * FRAMES_PER_SECOND


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoSpec:
    """Everything that decides the content of a demo set."""

    seed: int = 0
    train_videos: int = 24
    val_videos: int = 8
    seconds: int = 48
    """Length of every video; 48 s hold about 30 actions: 20 future ones and some observed ones."""
    width: int = 160
    height: int = 120

    def __post_init__(self) -> None:
        """Refuse sets in which a video or a kind of video would be empty.

        Raises:
            ValueError: a number is out of its range.
        """
        self._check("seed", self.seed, least=0)
        self._check("train_videos", self.train_videos, least=1)
        self._check("val_videos", self.val_videos, least=2)
        self._check("seconds", self.seconds, least=SHORTEST_VIDEO_SECONDS)

    @staticmethod
    def _check(name: str, value: int, *, least: int) -> None:
        if value < least:
            message = f"demo set: {name} is {value}, expected at least {least}"
            raise ValueError(message)


SMALL_SPEC = DemoSpec(train_videos=4, val_videos=2, seconds=8, width=96, height=72)
"""What `--small` makes: enough for tests, too short for 20 future actions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Consecutive segments of one noun, half-open [start, end) in frames."""

    noun: str
    segments: tuple[Segment, ...]

    @property
    def start_frame(self) -> int:
        """Return the first frame of the first segment."""
        return self.segments[0].start_frame

    @property
    def end_frame(self) -> int:
        """Return the frame behind the last segment."""
        return self.segments[-1].end_frame


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A piece of a video that holds whole scenes, half-open [start, end) in frames."""

    clip_uid: str
    start_frame: int
    end_frame: int
    scenes: tuple[Scene, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoTruth:
    """What happens in one video."""

    video_id: str
    participant_id: str
    split: Split
    frame_count: int
    segments: tuple[Segment, ...]
    """In order of time, never overlapping."""

    @property
    def duration_seconds(self) -> float:
        """Return the length of the video."""
        return self.frame_count / FRAMES_PER_SECOND

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """Return the runs of segments that show one noun."""
        runs = groupby(self.segments, key=lambda segment: segment.action.noun)
        return tuple(Scene(noun=noun, segments=tuple(run)) for noun, run in runs)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Return clips of 12 s and a little more that tile the video and cut no scene."""
        starts = [0]
        for scene in self.scenes:
            long_enough = scene.start_frame - starts[-1] >= CLIP_FRAMES
            if long_enough and self.frame_count - scene.start_frame >= SHORTEST_CLIP_FRAMES:
                starts.append(scene.start_frame)
        bounds = pairwise([*starts, self.frame_count])
        return tuple(self._clip(index, start, end) for index, (start, end) in enumerate(bounds))

    def _clip(self, index: int, start_frame: int, end_frame: int) -> Clip:
        inside = [scene for scene in self.scenes if start_frame <= scene.start_frame < end_frame]
        return Clip(
            clip_uid=f"{self.video_id}_clip{index}",
            start_frame=start_frame,
            end_frame=end_frame,
            scenes=tuple(inside),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoTruth:
    """All videos of a demo set, train first."""

    spec: DemoSpec
    videos: tuple[VideoTruth, ...]
    unseen_participant_id: str
    """The participant of whom only validation videos exist."""

    def of_split(self, split: Split) -> tuple[VideoTruth, ...]:
        """Return the videos of one split."""
        return tuple(video for video in self.videos if video.split == split)


def make_truth(spec: DemoSpec) -> DemoTruth:
    """Sample the labels of a whole demo set; equal specs give equal labels.

    A quarter of the validation videos, at least one, belongs to a participant without train videos.
    """
    seen = max(1, spec.train_videos // VIDEOS_PER_PARTICIPANT)
    unseen_videos = max(1, spec.val_videos // 4)
    unseen = f"P{seen + 1:02d}"
    slots: list[tuple[str, Split]] = []
    slots += [(f"P{index % seen + 1:02d}", "train") for index in range(spec.train_videos)]
    slots += [
        (f"P{index % seen + 1:02d}", "val") for index in range(spec.val_videos - unseen_videos)
    ]
    slots += [(unseen, "val")] * unseen_videos
    return DemoTruth(
        spec=spec, videos=tuple(_sample_videos(spec, slots)), unseen_participant_id=unseen
    )


def _sample_videos(spec: DemoSpec, slots: list[tuple[str, Split]]) -> Iterator[VideoTruth]:
    counts: dict[str, int] = {}
    frame_count = spec.seconds * FRAMES_PER_SECOND
    for index, (participant_id, split) in enumerate(slots):
        counts[participant_id] = counts.get(participant_id, 0) + 1
        yield VideoTruth(
            video_id=f"{participant_id}_{counts[participant_id]:02d}",
            participant_id=participant_id,
            split=split,
            frame_count=frame_count,
            segments=sample_timeline(np.random.default_rng([spec.seed, index]), frame_count),
        )
