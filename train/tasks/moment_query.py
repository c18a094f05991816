"""Moment queries on Ego4D: all instances of all moment classes in a clip.

Official files: moments_{train,val,test_unannotated}.json (``train.annotations.ego4d_clips``).
Submission: a JSON file with labelled, scored segments per clip. Scores: Ego4D's
``eval_detection.py`` (mAP over tIoU) and ``get_retrieval_performance.py`` (recall).

Shapes: B batch, M moments a window can name, G true moments, K classes, N segments of a clip, 2
start and end seconds.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import attrgetter
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import AnnotationError
from train.annotations.ego4d_clips import Clip, Moment, MomentClip, MomentSource
from train.annotations.moment_submission import (
    Detection,
    moment_violations,
    read_moments,
    write_challenge_moments,
    write_moments,
)
from train.annotations.opening import open_moments
from train.answer import Answer
from train.answers.moment_query import (
    MAX_DETECTIONS,
    MomentAnswers,
    MomentKnowledge,
    MomentQueryOptions,
)
from train.answers.parts import known_until, true_segment
from train.metrics.moments import (
    Detections,
    Instances,
    mean_average_precisions,
    retrieval_recalls,
)
from train.metrics.tiou import clipped_share
from train.task import LossSum, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["MomentQuery", "MomentQueryOptions"]

logger = logging.getLogger(__name__)

VISIBLE_SHARE = 0.5
"""A moment cut by a window's border counts there if at least this much of it is left."""


class MomentQuery(Task[MomentSource, MomentQueryOptions]):
    """Classes and boundaries of a window's moments, from learned tokens behind its rows."""

    answers_type: ClassVar[type[MomentAnswers]] = MomentAnswers
    main_metric = "average_mAP"
    metric_scale = 1.0

    @staticmethod
    def open(annotations: Path, options: MomentQueryOptions) -> MomentSource:
        """Return moments of clips, official or ours."""
        return open_moments(annotations)

    @cached_property
    def answers(self) -> MomentAnswers:
        """What the head says, with the classes of the training moments, sorted."""
        names = {one.label for clip in self._clips("train").values() for one in clip.moments}
        return self.answers_type(MomentKnowledge(class_names=tuple(sorted(names))), self.options)

    @property
    def _class_names(self) -> tuple[str, ...]:
        return self.answers.knowledge.class_names

    @cache  # noqa: B019 - a task lives as long as its process
    def _clips(self, subset: Subset) -> Mapping[str, MomentClip]:
        """Return the clips that have a moment, of which alone are scored, or all of ``test``."""
        known = self.source.clips(subset)
        clips = {one.clip.clip_id: one for one in known if one.moments or subset == "test"}
        if not clips and subset == "test":
            raise AnnotationError(f"{self.source.path}: its test file has no clip of a test video.")
        if not clips:
            raise AnnotationError(f"{self.source.path}: no {subset} clip has a primary label.")
        if num_left_out := sum(one.clip.clip_id not in clips for one in known):
            logger.info(
                "%s: %d of %d %s clips have no moment and are left out, as in Ego4D's evaluation",
                *(self.source.path, num_left_out, len(known), subset),
            )
        return clips

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per clip that has a moment, or is of ``test``."""
        class_ids = {label: class_id for class_id, label in enumerate(self._class_names)}
        return [
            Sample(
                video_id=one.clip.video_id,
                start_seconds=one.clip.start_seconds,
                end_seconds=one.clip.end_seconds,
                target=_target(one, class_ids),
                clip_id=one.clip.clip_id,
                record_ends=one.moment_ends,
                annotated=subset != "test",
            )
            for one in self._clips(subset).values()
        ]

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.int64] | NDArray[np.float32]]:
        """Return the window's moments: class, boundary as fractions of the window, and how many.

        A moment in context rows counts as well: a window speaks for all that it sees.
        """
        target = _target_of(sample)
        start, end = times_R2[window.start, 0], times_R2[window.stop - 1, 1]
        cut_G2, share_G = clipped_share(target.segments_G2, start, end)
        seen_G = share_G >= VISIBLE_SHARE
        return {
            "classes": target.classes_G[seen_G],
            "segments": ((cut_G2[seen_G] - start) / (end - start)).astype(np.float32),
            "count": np.array([seen_G.sum()], np.int64),
        }

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer | None:
        """Return the different moments that last, by start.

        Also those of classes that no training clip has: no answer names them, but the metric counts
        them.
        """
        if not sample.annotated:
            return None
        target = _target_of(sample)
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=known_until(sample),
            segments=tuple(
                true_segment(
                    target.clip.start_seconds + one.start_seconds,
                    target.clip.start_seconds + one.end_seconds,
                    one.label,
                )
                for one in target.moments
            ),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the set loss after Hungarian matching, summed over windows."""
        from train.model.set_matching import set_loss_sum

        return set_loss_sum(
            outputs["classes"],
            outputs["segments"],
            targets["classes"],
            targets["segments"],
            targets["count"][:, 0],
        )

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write the JSON file ``path``: up to 200 segments per clip, best first.

        A submission of validation or test clips is made whole, since the official evaluator refuses
        a missing clip: those without outputs have no segment. That of test clips has the form of
        the challenge's server.
        """
        results: dict[str, list[Detection]] = {}
        subset: Subset = "val"
        for output in outputs:
            results[_target_of(output.sample).clip.clip_id] = self._detections(output)
            subset = subset if output.sample.annotated else "test"
        clips = self._clips(subset)
        if results.keys() <= clips.keys():
            results = {clip_id: results.get(clip_id, []) for clip_id in clips}
        write = write_challenge_moments if subset == "test" else write_moments
        write(path, results)

    def violations(self, predictions: Path, subset: Subset) -> Iterator[str]:
        """Say what of a submission breaks the form of Ego4D's challenge."""
        return moment_violations(predictions, list(self._clips(subset)), self._class_names)

    def _detections(self, output: SampleOutput) -> list[Detection]:
        """Return the moments of a clip, in seconds of the clip."""
        clip = _target_of(output.sample).clip
        return [
            Detection(label=one.label, score=one.score, segment=[one.start, one.end])
            for one in self.answers.moments(output, clip.start_seconds, clip.duration_seconds)
        ]

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return the mAP at five thresholds, their mean, and the recalls, as fractions.

        Labels that no validation clip has do not count, as in the official evaluator.
        """
        results = read_moments(predictions)
        clips = self._clips("val")
        known = [one.clip.clip_id for one in self.source.clips("val")]
        unknown = results.keys() - set(known)
        if unknown:
            raise AnnotationError(
                f"{predictions}: clip '{min(unknown)}' is none of the {len(known)} validation "
                "clips."
            )
        missing = [clip_id for clip_id in clips if clip_id not in results]
        if missing:
            raise AnnotationError(
                f"{predictions}: {len(missing)} of {len(clips)} clips with a primary label are "
                f"missing, the first is '{missing[0]}'. Give clips without a prediction an empty "
                "list."
            )
        truth, detections = _as_arrays(clips, results, known)
        return {
            **mean_average_precisions(truth, detections),
            **retrieval_recalls(truth, detections),
        }

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of random segments, and of where each class lies in training clips.

        Args:
            folder: Gets the submissions ``chance.json`` and ``majority.json``.
        """
        clips = self._clips("val").values()
        rng = np.random.default_rng(0)
        prior = self._mean_moments()
        submissions = {
            "chance": {one.clip.clip_id: self._random(one.clip, rng) for one in clips},
            "majority": {
                one.clip.clip_id: [_scaled(moment, one.clip) for moment in prior] for one in clips
            },
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name, results in submissions.items():
            write_moments(folder / f"{name}.json", results)
        return {name: self.score(folder / f"{name}.json") for name in submissions}

    def _random(self, clip: Clip, rng: np.random.Generator) -> list[Detection]:
        labels = rng.choice(self._class_names, MAX_DETECTIONS)
        bounds_N2 = np.sort(rng.random((MAX_DETECTIONS, 2)), axis=1) * clip.duration_seconds
        return [
            Detection(label=str(label), score=score, segment=bounds_2)
            for label, score, bounds_2 in zip(
                labels, rng.random(MAX_DETECTIONS).tolist(), bounds_N2.tolist(), strict=True
            )
        ]

    def _mean_moments(self) -> list[Detection]:
        """Return each class's mean boundary, as fractions of the clip, scored by its frequency."""
        bounds: dict[str, list[list[float]]] = {}
        for one in self._clips("train").values():
            for moment in one.moments:
                bounds_2 = np.array([moment.start_seconds, moment.end_seconds])
                fractions_2 = (bounds_2 / one.clip.duration_seconds).tolist()
                bounds.setdefault(moment.label, []).append(fractions_2)
        counts = Counter({label: len(values) for label, values in bounds.items()})
        return [
            Detection(
                label=label,
                score=count / counts.total(),
                segment=np.mean(bounds[label], axis=0).tolist(),
            )
            for label, count in counts.most_common()
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """The different moments of a clip, and those that can be learned in seconds of the video."""

    clip: Clip
    moments: tuple[Moment, ...]
    """Those that last, by start."""
    classes_G: NDArray[np.int64]
    segments_G2: NDArray[np.float64]


def _target(one: MomentClip, class_ids: Mapping[str, int]) -> _Target:
    """Leave out what cannot be learned: repetitions, no length, classes that training lacks."""
    moments = {moment for moment in one.moments if moment.start_seconds < moment.end_seconds}
    learnable = [
        (class_ids[moment.label], moment.start_seconds, moment.end_seconds)
        for moment in moments
        if moment.label in class_ids
    ]
    table_G3 = np.array(sorted(learnable), np.float64).reshape(-1, 3)
    return _Target(
        clip=one.clip,
        moments=tuple(sorted(moments, key=attrgetter("start_seconds", "end_seconds", "label"))),
        classes_G=table_G3[:, 0].astype(np.int64),
        segments_G2=table_G3[:, 1:] + one.clip.start_seconds,
    )


def _target_of(sample: Sample) -> _Target:
    assert isinstance(sample.target, _Target), "the sample is another task's"
    return sample.target


def _scaled(moment: Detection, clip: Clip) -> Detection:
    """Turn fractions of a clip into seconds."""
    seconds = [fraction * clip.duration_seconds for fraction in moment.segment]
    return Detection(label=moment.label, score=moment.score, segment=seconds)


def _as_arrays(
    clips: Mapping[str, MomentClip],
    results: Mapping[str, Sequence[Detection]],
    clip_ids: Sequence[str],
) -> tuple[Instances, Detections]:
    """Number clips and classes; detections of classes that no clip has go away."""
    clip_numbers = {clip_id: number for number, clip_id in enumerate(clip_ids)}
    moments = [(clip_id, moment) for clip_id, one in clips.items() for moment in one.moments]
    labels = {
        label: number for number, label in enumerate(sorted({one.label for _, one in moments}))
    }
    found = [
        (clip_id, one)
        for clip_id, detections in results.items()
        for one in detections
        if one.label in labels
    ]
    truth = Instances(
        clips_N=np.array([clip_numbers[clip_id] for clip_id, _ in moments], np.int64),
        classes_N=np.array([labels[one.label] for _, one in moments], np.int64),
        segments_N2=np.array([(one.start_seconds, one.end_seconds) for _, one in moments]),
    )
    detected = Detections(
        clips_N=np.array([clip_numbers[clip_id] for clip_id, _ in found], np.int64),
        classes_N=np.array([labels[one.label] for _, one in found], np.int64),
        segments_N2=np.array([one.segment[:2] for _, one in found]).reshape(-1, 2),
        scores_N=np.array([one.score for _, one in found]),
    )
    return truth, detected
