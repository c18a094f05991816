"""Online action detection on EPIC-KITCHENS-100: what is going on now, seen from the past only.

Official files: the EPIC_100 csv files in one folder (``train.annotations.epic``). Time is cut into
cells of a quarter of a second, as LSTR, TeSTra and MAT do. Submission: an npz file with one array
(cells, 1 + classes) per validation video; column 0 is background, class id c is column c + 1.

Shapes: B batch, T rows, K columns, F cells of a video, A of these with an action, N cells of all
videos, C classes that occur in a video or subset, 2 start and end seconds.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import ClassVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from train.annotations.epic import Action, EpicFolder, VerbNoun
from train.annotations.opening import open_actions
from train.annotations.score_archive import Scores, open_score_archive, write_score_archive
from train.annotations.video_sources import VideoActions
from train.answer import Answer
from train.answers.online_action_detection import (
    DetectionAnswers,
    DetectionKnowledge,
    OnlineActionDetectionOptions,
)
from train.answers.parts import known_until, true_segment
from train.data.row_times import ROUNDING_SECONDS, rows_completed_by
from train.metrics.framewise import AveragePrecisions, class_mean_recall, top_k_hits
from train.task import IGNORED, LossSum, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["OnlineActionDetection", "OnlineActionDetectionOptions"]

CELLS_PER_SECOND = 4
BACKGROUND = 0
"""Column of "no action"."""


class OnlineActionDetection(Task[EpicFolder | VideoActions, OnlineActionDetectionOptions]):
    """The current and the next row's action, from two linear layers on every row."""

    answers_type: ClassVar[type[DetectionAnswers]] = DetectionAnswers
    main_metric = "overall_action_mt5r"

    @staticmethod
    def open(annotations: Path, options: OnlineActionDetectionOptions) -> EpicFolder | VideoActions:
        """Return actions by verb and noun, official or ours."""
        return open_actions(annotations)

    @cached_property
    def answers(self) -> DetectionAnswers:
        """What the head says, with the names of its columns."""
        names = ("background", *self.source.action_names())
        return self.answers_type(DetectionKnowledge(class_names=names), self.options)

    @cached_property
    def _classes(self) -> list[VerbNoun]:
        return self.source.action_classes()

    @cached_property
    def _columns(self) -> dict[VerbNoun, int]:
        return {pair: class_id + 1 for class_id, pair in enumerate(self._classes)}

    @property
    def _num_columns(self) -> int:
        return len(self._classes) + 1

    @cached_property
    def _cells(self) -> dict[str, int]:
        return self.source.validation_cells(CELLS_PER_SECOND)

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per video; its target are its actions and the cells till the last one.

        The validation videos are those that are scored, with or without an action.
        """
        actions = self.source.classified_actions(subset)
        videos = sorted(actions) if subset == "train" else list(self._cells)
        durations = self.source.durations()
        return [
            Sample(
                video_id=video_id,
                start_seconds=0.0,
                end_seconds=math.inf,
                target=self._target(actions.get(video_id, ())),
                duration_seconds=durations.get(video_id),
                record_ends=tuple(action.end_seconds for action in actions.get(video_id, ())),
            )
            for video_id in videos
        ]

    def _target(self, actions: Sequence[Action]) -> "_Target":
        return _Target(actions=tuple(actions), labels_F=self._active(actions).labels_F())

    def _active(self, actions: Sequence[Action], num_cells: int | None = None) -> "_ActiveCells":
        """Mark the cells each action touches: floor(start * 4) up to ceil(end * 4), exclusive."""
        starts = [math.floor(action.start_seconds * CELLS_PER_SECOND) for action in actions]
        ends = [math.ceil(action.end_seconds * CELLS_PER_SECOND) for action in actions]
        columns = [self._columns[action.verb_noun] for action in actions]
        columns_C, places = np.unique(np.array(columns, np.int64), return_inverse=True)
        length = max(ends, default=0) if num_cells is None else num_cells
        active_FC = np.zeros((length, len(columns_C)), bool)
        for place, start, end in zip(places, starts, ends, strict=True):
            active_FC[start:end, place] = True
        return _ActiveCells(columns_C=columns_C, active_FC=active_FC)

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64]]:
        """Return the column at each row's last instant, and that of the row after it.

        A row is first used for the cell in which it ends, so that cell's action is what it is to
        say. The last row of a video has no next one.
        """
        columns = self._columns_at(sample, times_R2[window.start : window.stop + 1, 1])
        following = np.append(columns[1:], IGNORED)[: window.num_rows]
        return {
            "current": window.without_context(columns[: window.num_rows]),
            "next": window.without_context(following),
        }

    def _columns_at(self, sample: Sample, ends_T: NDArray[np.float64]) -> NDArray[np.int64]:
        labels_F = _target_of(sample).labels_F
        last_cells_T = np.floor((ends_T - ROUNDING_SECONDS) * CELLS_PER_SECOND)
        cells_T = np.maximum(last_cells_T, 0).astype(np.int64)
        # One background cell behind the last action stands for the rest of the video.
        columns_T = np.append(labels_F, BACKGROUND)[np.minimum(cells_T, len(labels_F))]
        if self.options.learn_background:
            return columns_T
        return np.where(columns_T == BACKGROUND, IGNORED, columns_T)

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer:
        """Return the annotated actions, also those at once, by start.

        Background stands between them where it is learned, since the answers say it then. Behind
        the last action it does not: when the video ends is not annotated.
        """
        actions, names = _target_of(sample).actions, self.answers.knowledge.class_names
        segments = [
            true_segment(
                action.start_seconds, action.end_seconds, names[self._columns[action.verb_noun]]
            )
            for action in actions
        ]
        if self.options.learn_background:
            pauses = (true_segment(*pause, names[BACKGROUND]) for pause in _pauses(actions))
            segments = sorted([*segments, *pauses], key=attrgetter("start"))
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=known_until(sample),
            segments=tuple(segments),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the cross-entropy of both layers, summed over the targets of both."""
        from train.model.losses import cross_entropy_sum

        current, following = (
            cross_entropy_sum(outputs[name], targets[name]) for name in ("current", "next")
        )
        return LossSum(
            total=current.total + following.total,
            num_targets=current.num_targets + following.num_targets,
        )

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(
        self,
        outputs: Iterable[SampleOutput],
        path: Path,
    ) -> None:
        """Write the npz file ``path``: softmax scores of every cell, from the past only.

        A submission of validation videos is made whole, since the official evaluators know no
        missing video: those without outputs get uniform scores.
        """
        write_score_archive(path, self._submission(outputs))

    def _submission(
        self, outputs: Iterable[SampleOutput]
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        given: set[str] = set()
        for output in outputs:
            video_id = output.sample.video_id
            yield video_id, self._cell_scores(video_id, output.rows("current"), output.times_R2)
            given.add(video_id)
        if given <= self._cells.keys():
            for video_id, num_cells in self._cells.items():
                if video_id not in given:
                    shape = num_cells, self._num_columns
                    yield video_id, np.full(shape, 1 / self._num_columns, np.float32)

    def _cell_scores(
        self, video_id: str, logits_TK: NDArray[np.float32], times_T2: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Give each cell the scores of the latest row that has ended when the cell ends.

        Cells that end before the first row does get uniform scores: nothing is known yet. Other
        videos than the validation ones have as many cells as their rows last.
        """
        num_cells = self._cells.get(video_id, math.ceil(times_T2[-1, 1] * CELLS_PER_SECOND))
        cell_ends_F = np.arange(1, num_cells + 1) / CELLS_PER_SECOND + ROUNDING_SECONDS
        rows_F = rows_completed_by(times_T2, cell_ends_F)
        scores_FK: NDArray[np.float32] = softmax(logits_TK, axis=1)[rows_F]
        scores_FK[rows_F < 0] = 1 / scores_FK.shape[1]
        return scores_FK

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return the class-mean top-5 recalls in percent and the mAP as a fraction.

        Overall is MAT's rule. ``*_by_rule`` are the same on the cells of unseen participants and of
        tail classes (tail verb or tail noun), for which no official code exists.
        """
        with open_score_archive(predictions) as archive:
            archive.check_videos(self._cells)
            return self._score(archive.read)

    def _score(self, read: Callable[[str, tuple[int, int]], Scores]) -> dict[str, float | None]:
        """Score what ``read`` (video, shape) returns, one video in memory at a time, each twice."""
        actions = self.source.classified_actions("val")
        pairs = {action.verb_noun for video in actions.values() for action in video}
        occurring_C = np.array(sorted(self._columns[pair] for pair in pairs), np.int64)
        precisions = AveragePrecisions(len(occurring_C))
        hits = []
        for video_id, num_cells in self._cells.items():
            active = self._active(actions.get(video_id, []), num_cells)
            scores_FK = read(video_id, (num_cells, self._num_columns))
            hits.append(_hits(active, scores_FK))
            precisions.collect(active.among(occurring_C), scores_FK.T[occurring_C])
        for video_id, num_cells in self._cells.items():
            scores_FK = read(video_id, (num_cells, self._num_columns))
            precisions.count(scores_FK.T[occurring_C])
        unseen = self.source.unseen_participants()
        is_unseen = [
            bool(own) and own[0].participant_id in unseen
            for own in (actions.get(video_id, []) for video_id in self._cells)
        ]
        return {**self._recalls(hits, is_unseen), "mAP": precisions.mean()}

    def _recalls(
        self, hits: "Sequence[_Hits]", is_unseen: Sequence[bool]
    ) -> dict[str, float | None]:
        labels_N = np.concatenate([video.labels_A for video in hits])
        hits_N = np.concatenate([video.hits_A for video in hits])
        unseen_N = np.repeat(is_unseen, [len(video.labels_A) for video in hits])
        tail_N = self._is_tail_K()[labels_N]
        return {
            "overall_action_mt5r": class_mean_recall(hits_N, labels_N),
            "unseen_action_mt5r_by_rule": class_mean_recall(hits_N[unseen_N], labels_N[unseen_N]),
            "tail_action_mt5r_by_rule": class_mean_recall(hits_N[tail_N], labels_N[tail_N]),
        }

    def _is_tail_K(self) -> NDArray[np.bool_]:
        verbs, nouns = self.source.tail_verbs(), self.source.tail_nouns()
        return np.array([False] + [verb in verbs or noun in nouns for verb, noun in self._classes])

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of random numbers and of the training frequency of each class.

        No file is written: at full size each would be 3 GB of numbers that mean nothing.

        Args:
            folder: Not used.
        """
        prior_K = np.zeros(self._num_columns, np.float32)
        for sample in self.samples("train"):
            prior_K += np.bincount(_target_of(sample).labels_F, minlength=len(prior_K))
        prior_K[BACKGROUND] = 0  # The recalls look at action cells only.
        prior_K /= prior_K.sum()
        return {
            "chance": self._score(_random_scores),
            "majority": self._score(lambda _, shape: np.broadcast_to(prior_K, shape)),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """What is annotated of one video."""

    actions: tuple[Action, ...]
    """By start."""
    labels_F: NDArray[np.int64]
    """The column of each cell till the last action."""


def _target_of(sample: Sample) -> _Target:
    assert isinstance(sample.target, _Target)
    return sample.target


def _pauses(actions: Sequence[Action]) -> Iterator[tuple[float, float]]:
    """Yield start and end second of the gaps before and between actions, which come by start."""
    idle_from = 0.0
    for action in actions:
        if action.start_seconds > idle_from:
            yield idle_from, action.start_seconds
        idle_from = max(idle_from, action.end_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ActiveCells:
    """Which actions are going on in which cell of a video."""

    columns_C: NDArray[np.int64]
    """Ascending."""
    active_FC: NDArray[np.bool_]

    def labels_F(self) -> NDArray[np.int64]:
        """Return one column per cell; of several actions at once the lowest class id counts."""
        if not len(self.columns_C):
            return np.full(len(self.active_FC), BACKGROUND, np.int64)
        first_F = self.columns_C[self.active_FC.argmax(axis=1)]
        return np.where(self.active_FC.any(axis=1), first_F, BACKGROUND)

    def among(self, columns_K: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some ascending columns, with all of these, are active in which cell."""
        active_KF = np.zeros((len(columns_K), len(self.active_FC)), bool)
        active_KF[np.searchsorted(columns_K, self.columns_C)] = self.active_FC.T
        return active_KF


@dataclass(frozen=True, kw_only=True, slots=True)
class _Hits:
    """Of the cells of a video with an action."""

    labels_A: NDArray[np.int64]
    hits_A: NDArray[np.bool_]


def _random_scores(video_id: str, shape: tuple[int, int]) -> Scores:
    """Return the same numbers whenever a video's are asked for."""
    return np.random.default_rng(crc32(video_id.encode())).random(shape, np.float32)


def _hits(active: _ActiveCells, scores_FK: Scores) -> _Hits:
    labels_F = active.labels_F()
    is_action_F = labels_F != BACKGROUND
    labels_A = labels_F[is_action_F]
    return _Hits(labels_A=labels_A, hits_A=top_k_hits(scores_FK[is_action_F], labels_A))
