"""Our own annotation format, seen as each task wants it.

One class per kind of official files, with the same methods: a task does not know which it reads.
Class ids follow the sorted names. There are no tail classes and no unseen participants.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.annotations.ego4d_clips import Clip, ClipQuery, Moment, MomentClip
from train.annotations.ego4d_lta import LtaAction, LtaClip, LtaTaxonomy
from train.annotations.epic import Action, VerbNoun, by_video
from train.annotations.narrations import Narrations
from train.annotations.own_labels import OwnLabels
from train.annotations.qvhighlights import CLIP_SECONDS, HighlightQuery, VideoQuery
from train.annotations.video_lines import ActionLine, VideoLine

__all__ = [
    "LabelledVideos",
    "VideoActions",
    "VideoCaptions",
    "VideoClips",
    "VideoHighlights",
    "VideoMoments",
    "VideoQueries",
]

BACKGROUND = "background"
"""Label of frames without an action; action segmentation leaves it out of Edit and F1."""


class LabelledVideos:
    """Actions as one label per frame, as Breakfast's folder has them; there is one split."""

    test_splits = (1,)

    def __init__(self, path: Path, label_fps: Fraction) -> None:
        self._lines = OwnLabels(path)
        self._label_fps = float(label_fps)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Background and the labels of both subsets, sorted."""
        names = {action.name for line in self._lines.all() for action in line.actions or ()}
        return (BACKGROUND, *sorted(names - {BACKGROUND}))

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """Name -> id."""
        return {name: index for index, name in enumerate(self.class_names)}

    def videos(self, subset: str, split: int) -> list[str]:
        """Return the videos of a subset; ``split`` must be 1."""
        return [line.video for line in self._lines.of(subset, "actions")] if split == 1 else []

    def labels(self, video_id: str) -> NDArray[np.int64]:
        """Return the class of every label frame; where actions overlap, of the latest to start."""
        line = self._by_video[video_id]
        num_frames = math.ceil(self._lines.duration(line) * self._label_fps)
        middles_F = (np.arange(num_frames) + 0.5) / self._label_fps
        labels_F = np.zeros(num_frames, np.int64)
        for action in sorted(line.actions or (), key=lambda one: one.start):
            covered_F = (action.start <= middles_F) & (middles_F < action.end)
            labels_F[covered_F] = self.class_ids[action.name]
        return labels_F

    def record_ends(self, video_id: str, *, labelled_seconds: float) -> tuple[float, ...]:
        """Return when each action of a video ends; labels stop at the duration that is given."""
        return tuple(action.end for action in self._by_video[video_id].actions or ())

    @cached_property
    def _by_video(self) -> dict[str, VideoLine]:
        return {line.video: line for line in self._lines.all()}


class VideoActions:
    """Actions by verb and noun, as EPIC-KITCHENS' folder has them."""

    def __init__(self, path: Path) -> None:
        self._lines = OwnLabels(path)

    def actions(self, subset: str) -> list[Action]:
        """Return the actions of a subset, by video, then start."""
        lines = sorted(self._lines.of(subset, "actions"), key=lambda line: line.video)
        return [
            self._action(line, index, action) for line in lines for index, action in _by_start(line)
        ]

    def segments(self, subset: str) -> list[Action]:
        """Return the same: there is no subset without labels."""
        return self.actions(subset)

    def classified_actions(self, subset: str) -> dict[str, list[Action]]:
        """Return the actions of each video of a subset, none of one in which there is none."""
        nothing: dict[str, list[Action]] = {
            line.video: [] for line in self._lines.of(subset, "actions")
        }
        return nothing | by_video(self.actions(subset))

    def action_classes(self) -> list[VerbNoun]:
        """Return every pair that occurs, sorted."""
        names = {action.pair for line in self._lines.all() for action in line.actions or ()}
        return sorted((self._verbs[verb], self._nouns[noun]) for verb, noun in names)

    def action_names(self) -> list[str]:
        """Return the words of each action class."""
        verbs, nouns = list(self._verbs), list(self._nouns)
        return [f"{verbs[verb]} {nouns[noun]}".rstrip() for verb, noun in self.action_classes()]

    def knows_action_classes(self) -> bool:
        """Tell whether ``action_classes`` has what it needs."""
        return True

    def count_verbs(self) -> int:
        """Count the verbs."""
        return len(self._verbs)

    def count_nouns(self) -> int:
        """Count the nouns; actions that only have a label share one."""
        return len(self._nouns)

    def tail_verbs(self) -> set[int]:
        """Return none."""
        return set()

    def tail_nouns(self) -> set[int]:
        """Return none."""
        return set()

    def unseen_participants(self) -> set[str]:
        """Return none."""
        return set()

    def validation_cells(self, cells_per_second: int) -> dict[str, int]:
        """Return the number of cells of each validation video."""
        return {
            line.video: math.ceil(self._lines.duration(line) * cells_per_second)
            for line in self._lines.of("val", "actions")
        }

    def durations(self) -> dict[str, float]:
        """Return the seconds of each video whose line says them."""
        return self._lines.durations()

    def taxonomy(self) -> LtaTaxonomy:
        """Return the names of verbs and nouns by id."""
        return LtaTaxonomy(verbs=tuple(self._verbs), nouns=tuple(self._nouns))

    def clips(self, subset: str) -> list[LtaClip]:
        """Return every video with actions as one clip: without one there is no future to tell."""
        return [
            LtaClip(
                clip_id=line.video,
                video_id=line.video,
                start_seconds=0.0,
                end_seconds=self._lines.duration(line),
                actions=tuple(
                    LtaAction(
                        index=rank,
                        start_seconds=action.start,
                        end_seconds=action.end,
                        verb=self._verbs[action.pair[0]],
                        noun=self._nouns[action.pair[1]],
                    )
                    for rank, (_, action) in enumerate(_by_start(line))
                ),
            )
            for line in sorted(self._lines.of(subset, "actions"), key=lambda line: line.video)
            if line.actions
        ]

    def _action(self, line: VideoLine, index: int, action: ActionLine) -> Action:
        verb, noun = action.pair
        return Action(
            narration_id=f"{line.video}:{index}",
            participant_id=line.video,
            video_id=line.video,
            start_seconds=action.start,
            end_seconds=action.end,
            verb_noun=(self._verbs[verb], self._nouns[noun]),
        )

    @cached_property
    def _verbs(self) -> dict[str, int]:
        return _ids({action.pair[0] for line in self._lines.all() for action in line.actions or ()})

    @cached_property
    def _nouns(self) -> dict[str, int]:
        return _ids({action.pair[1] for line in self._lines.all() for action in line.actions or ()})


class VideoClips:
    """Videos as clips of their whole length, as Ego4D's episodic-memory files have them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = OwnLabels(path)

    def _clip(self, line: VideoLine) -> Clip:
        return Clip(
            clip_id=line.video,
            video_id=line.video,
            start_seconds=0.0,
            end_seconds=self._lines.duration(line),
        )


class VideoMoments(VideoClips):
    """Moments of whole videos."""

    def clips(self, subset: str) -> list[MomentClip]:
        """Return the videos of a subset, also those in which there is no moment."""
        return [
            MomentClip(
                clip=self._clip(line),
                moments=tuple(
                    Moment(label=one.label, start_seconds=one.start, end_seconds=one.end)
                    for one in line.moments or ()
                ),
            )
            for line in self._lines.of(subset, "moments")
        ]


class VideoQueries(VideoClips):
    """Queries about whole videos."""

    def queries(self, subset: str) -> list[ClipQuery]:
        """Return the queries of a subset; each video has one annotation, ``0``."""
        return [
            ClipQuery(
                clip=self._clip(line),
                annotation_id="0",
                index=index,
                text=one.query,
                start_seconds=one.start,
                end_seconds=one.end,
            )
            for line in self._lines.of(subset, "queries")
            for index, one in enumerate(line.queries or ())
        ]


class VideoCaptions:
    """Captions of whole videos, as Ego4D's narrations."""

    def __init__(self, path: Path) -> None:
        self._lines = OwnLabels(path)

    def narrations(self, subset: str) -> dict[str, Narrations]:
        """Return the captions of each video of a subset, by time; ids are ``<video>:<index>``."""
        return {
            line.video: Narrations(
                line.video,
                [one.time for one in line.captions],
                [one.text for one in line.captions],
                np.arange(len(line.captions), dtype=np.int32)[:, None],
            )
            for line in self._lines.of(subset, "captions")
            if line.captions
        }

    def durations(self) -> dict[str, float]:
        """Return the seconds of each video whose line says them."""
        return self._lines.durations()

    def references(self) -> dict[str, list[str]]:
        """Return what a submission is scored against."""
        videos = self.narrations("val").values()
        return {one.narration_id: [one.text] for video in videos for one in video}


class VideoHighlights:
    """Highlights of whole videos, as QVHighlights' queries; qids count all lines' queries."""

    def __init__(self, path: Path) -> None:
        self._lines = OwnLabels(path)

    def queries(self, subset: str) -> list[HighlightQuery]:
        """Return the queries of a subset in the order of the file."""
        wanted = {line.video for line in self._lines.of(subset, "highlights")}
        numbered = [(line, one) for line in self._lines.all() for one in line.highlights or ()]
        return [
            _highlight_query(qid, line.video, one.query, one.saliency)
            for qid, (line, one) in enumerate(numbered)
            if line.video in wanted
        ]

    def durations(self, queries: Iterable[VideoQuery]) -> dict[str, float]:
        """Return the seconds that lines say of videos: saliency need not reach their end."""
        return self._lines.durations()

    def asked(self) -> list[HighlightQuery]:
        """Refuse: there is no subset without labels."""
        return self.queries("test")


def _highlight_query(
    qid: int, video_id: str, query: str, saliency: list[int | tuple[int, int, int]]
) -> HighlightQuery:
    scores = [one if isinstance(one, tuple) else (one, one, one) for one in saliency]
    relevant = [clip for clip, one in enumerate(scores) if any(one)]
    return HighlightQuery(
        qid=qid,
        query=query,
        vid=video_id,
        duration=float(len(scores) * CLIP_SECONDS),
        relevant_windows=_windows(relevant),
        relevant_clip_ids=relevant,
        saliency_scores=[scores[clip] for clip in relevant],
    )


def _windows(clips: list[int]) -> list[tuple[float, float]]:
    """Return the runs of neighbouring clips in seconds."""
    windows: list[tuple[float, float]] = []
    for clip in clips:
        start, end = float(clip * CLIP_SECONDS), float((clip + 1) * CLIP_SECONDS)
        if windows and windows[-1][1] == start:
            start = windows.pop()[0]
        windows.append((start, end))
    return windows


def _by_start(line: VideoLine) -> list[tuple[int, ActionLine]]:
    return sorted(enumerate(line.actions or ()), key=lambda pair: (pair[1].start, pair[0]))


def _ids(names: set[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(sorted(names))}
