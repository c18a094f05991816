"""Action segmentation on Breakfast: the action of every frame of a whole video.

Official files: groundTruth/<video>.txt, mapping.txt and splits/ in one folder, or the dataset's own
coarse segments. Submission: a folder with predictions/<video>.txt, one label name per label frame.
Scores: MS-TCN's ``eval.py``.

Shapes: B batch, T rows, K classes, F label frames of a video, 2 start and end seconds.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from cache_schema.parsing import nearest
from train.annotations.breakfast import read_labels
from train.annotations.opening import LabelSource, open_labels
from train.answer import Answer
from train.answers.action_segmentation import (
    BACKGROUND,
    ActionSegmentationOptions,
    SegmentationAnswers,
    SegmentationKnowledge,
)
from train.answers.parts import rounded, true_segment
from train.metrics.segmental import LabelPair, segmental_scores
from train.task import IGNORED, LossSum, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["ActionSegmentation", "ActionSegmentationOptions"]


class ActionSegmentation(Task[LabelSource, ActionSegmentationOptions]):
    """One action label per frame, from one linear layer on every row."""

    answers_type: ClassVar[type[SegmentationAnswers]] = SegmentationAnswers
    main_metric = "F1@0.25"

    @staticmethod
    def open(annotations: Path, options: ActionSegmentationOptions) -> LabelSource:
        """Return labels of frames, official or ours."""
        return open_labels(annotations, options.label_fps)

    @cached_property
    def answers(self) -> SegmentationAnswers:
        """What the head says, with class names and what followed what in training."""
        videos = self.source.videos("train", self.options.split)
        knowledge = SegmentationKnowledge(
            class_names=tuple(self.source.class_names),
            transcripts=tuple(_runs(self.source.labels(video_id)) for video_id in videos),
        )
        return self.answers_type(knowledge, self.options)

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per video of the split; its target is the class of every frame."""
        videos = self.source.videos(subset, self.options.split)
        return [self._sample(video_id, self.source.labels(video_id)) for video_id in videos]

    def _sample(self, video_id: str, labels_F: NDArray[np.int64]) -> Sample:
        labelled_seconds = len(labels_F) / float(self.options.label_fps)
        return Sample(
            video_id=video_id,
            start_seconds=0.0,
            end_seconds=math.inf,
            target=labels_F,
            duration_seconds=labelled_seconds,
            record_ends=self.source.record_ends(video_id, labelled_seconds=labelled_seconds),
        )

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64]]:
        """Return the class of the label frame at each row's centre, none behind the last one."""
        # One row more, for what comes next; behind the video nothing does.
        labels = self._labels_at(sample, times_R2[window.start : window.stop + 1])
        current_T = window.without_context(labels[: window.num_rows])
        if not self.options.next_weight:
            return {"current": current_T}
        following = np.append(labels[1:], IGNORED)[: window.num_rows]
        return {"current": current_T, "next": window.without_context(following)}

    def _labels_at(self, sample: Sample, times_T2: NDArray[np.float64]) -> NDArray[np.int64]:
        labels_F = np.asarray(sample.target, dtype=np.int64)
        centres_T = times_T2.mean(axis=1)
        # A centre on a frame's start must not fall into the frame before by a rounding error.
        frames_T = np.floor(centres_T * float(self.options.label_fps) + 1e-6).astype(np.int64)
        inside_T = frames_T < len(labels_F)
        return np.where(inside_T, labels_F[np.where(inside_T, frames_T, 0)], IGNORED)

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer:
        """Return the runs of label frames of one class; background is a class like others."""
        runs = _runs(np.asarray(sample.target, dtype=np.int64))
        lengths = [length for _, length in runs]
        borders = np.cumsum([0, *lengths]) / float(self.options.label_fps)
        names = self.source.class_names
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=rounded(borders[-1]),
            segments=tuple(
                true_segment(start, end, names[class_id])
                for (class_id, _), (start, end) in zip(runs, pairwise(borders), strict=True)
            ),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the cross-entropy plus the weighted losses of smoothness and of the next row."""
        from train.model.losses import cross_entropy_sum, truncated_mse_sum

        options = self.options
        labels = cross_entropy_sum(outputs["current"], targets["current"], options.label_smoothing)
        total = labels.total
        if options.smoothing_weight:
            smoothness = truncated_mse_sum(outputs["current"], targets["current"])
            total = total + options.smoothing_weight * smoothness
        if options.next_weight:
            following = cross_entropy_sum(outputs["next"], targets["next"], options.label_smoothing)
            total = total + options.next_weight * following.total
        return LossSum(total=total, num_targets=labels.num_targets)

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(
        self,
        outputs: Iterable[SampleOutput],
        path: Path,
    ) -> None:
        """Write ``<video>.txt`` per sample into the folder ``path``: the label of every frame.

        A submission of test videos is made whole, since the official evaluators know no missing
        video: those without outputs get the first class of mapping.txt throughout.
        """
        predictions = {one.sample.video_id: self.answers.frame_classes(one) for one in outputs}
        test_videos = self.source.videos("val", self.options.split)
        if predictions.keys() <= set(test_videos):
            for video_id in test_videos:
                if video_id not in predictions:
                    predictions[video_id] = np.zeros_like(self.source.labels(video_id))
        self._write(predictions, path)

    def _write(self, predictions: Mapping[str, NDArray[np.int64]], path: Path) -> None:
        names = np.array(self.source.class_names)
        for video_id, labels_F in predictions.items():
            file = path / f"{video_id}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(names[labels_F]) + "\n", encoding="utf-8")

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return MS-TCN's numbers in percent, and ``Acc_video_mean``.

        Predictions of the videos of ``split`` give plain keys. Predictions that go beyond it must
        cover every split there is; they give ``split<N>_*`` and the papers' ``mean_of_splits_*``.
        """
        paths = _prediction_paths(predictions)
        splits = self._splits_of(set(paths), predictions)
        pairs = {
            video_id: self._pair(video_id, paths[video_id])
            for videos in splits.values()
            for video_id in videos
        }
        conventions = {"": False}
        if self.options.variant == "asformer":
            conventions["asformer_"] = True
        scores: dict[str, float | None] = {}
        for prefix, last_ends_early in conventions.items():
            by_split = {
                split: segmental_scores(
                    [pairs[video_id] for video_id in videos],
                    self.source.class_ids.get(BACKGROUND),
                    last_ends_early=last_ends_early,
                )
                for split, videos in splits.items()
            }
            scores |= _named(by_split, prefix)
        return scores

    def _splits_of(self, predicted: set[str], where: Path) -> dict[int, list[str]]:
        """Return the videos of the splits to be scored; each must have been predicted."""
        own = self.options.split
        splits = {own: self.source.videos("val", own)}
        if not predicted <= set(splits[own]):
            splits = {one: self.source.videos("val", one) for one in self.source.test_splits}
        known = [video_id for videos in splits.values() for video_id in videos]
        unknown = sorted(predicted - set(known))
        if unknown:
            raise AnnotationError(
                f"{where}: video '{unknown[0]}' is in no test split. {nearest(unknown[0], known)}"
            )
        for split, videos in splits.items():
            missing = [video_id for video_id in videos if video_id not in predicted]
            if missing:
                raise AnnotationError(
                    f"{where}: {len(missing)} of {len(videos)} videos of test split {split} have "
                    f"no prediction, the first is '{missing[0]}'. Predict all of them, or name "
                    "the split that was predicted with the option 'split'."
                )
        return splits

    def _pair(self, video_id: str, path: Path) -> LabelPair:
        truth_F = self.source.labels(video_id)
        predicted_F = read_labels(path, self.source.class_ids)
        if len(predicted_F) < len(truth_F):
            raise AnnotationError(
                f"{path}: got {len(predicted_F)} labels, expected {len(truth_F)}: one per line of "
                "the video's groundTruth file."
            )
        return LabelPair(truth_F=truth_F, predicted_F=predicted_F)

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of random labels and of the most frequent training label.

        Args:
            folder: Gets the submissions ``chance`` and ``majority``.
        """
        truth = {
            video_id: self.source.labels(video_id)
            for video_id in self.source.videos("val", self.options.split)
        }
        rng = np.random.default_rng(0)
        num_classes = len(self.source.class_names)
        majority = self._most_frequent_class()
        submissions = {
            "chance": {
                video_id: rng.integers(num_classes, size=len(labels_F))
                for video_id, labels_F in truth.items()
            },
            "majority": {
                video_id: np.full_like(labels_F, majority) for video_id, labels_F in truth.items()
            },
        }
        for name, predictions in submissions.items():
            self._write(predictions, folder / name)
        return {name: self.score(folder / name) for name in submissions}

    def _most_frequent_class(self) -> int:
        counts_K = np.zeros(len(self.source.class_names), np.int64)
        for video_id in self.source.videos("train", self.options.split):
            counts_K += np.bincount(self.source.labels(video_id), minlength=len(counts_K))
        return int(counts_K.argmax())


def _runs(labels_F: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Return class and length of each run of equal labels."""
    return tuple((int(label), len(list(run))) for label, run in groupby(labels_F.tolist()))


def _prediction_paths(folder: Path) -> dict[str, Path]:
    """Return the prediction file of each video in a submission folder."""
    if not folder.is_dir():
        raise AnnotationError(f"{folder}: no such folder, expected one with <video>.txt files.")
    paths = {
        path.relative_to(folder).as_posix().removesuffix(".txt"): path
        for path in sorted(folder.rglob("*.txt"))
    }
    if not paths:
        raise AnnotationError(f"{folder}: the folder holds no <video>.txt file.")
    return paths


def _named(by_split: Mapping[int, Mapping[str, float]], prefix: str) -> dict[str, float]:
    """Return the scores of one split as they are, those of several with their mean."""
    first, *others = by_split.values()
    if not others:
        return {f"{prefix}{key}": value for key, value in first.items()}
    named = {
        f"split{split}_{prefix}{key}": value
        for split, scores in by_split.items()
        for key, value in scores.items()
    }
    for key in first:
        values = [scores[key] for scores in by_split.values()]
        named[f"{prefix}mean_of_splits_{key}"] = float(np.mean(values))
    return named
