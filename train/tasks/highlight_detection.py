"""Highlight detection on QVHighlights: how well each 2-s clip of a video shows what a query asks.

Official files: highlight_{train,val,test}.jsonl (``train.annotations.qvhighlights``). Submission:
jsonl with one line per query. Scores: Moment-DETR's ``standalone_eval``.

Shapes: B batch, T rows of a window, R rows of a video, C clips of a video, A annotators, 2 start
and end seconds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from train.annotations.highlight_submission import (
    highlight_violations,
    read_highlights,
    write_highlights,
)
from train.annotations.opening import open_highlights
from train.annotations.qvhighlights import (
    HIGHEST_SALIENCY,
    HighlightQuery,
    HighlightSource,
    VideoQuery,
)
from train.answer import Answer, QueryAnswer, Span
from train.answers.highlight_detection import (
    CLIP_SECONDS,
    HighlightAnswers,
    HighlightDetectionOptions,
    clip_scores,
    clips_of,
    highlights,
)
from train.answers.parts import rounded
from train.metrics.highlights import highlight_scores, moment_scores
from train.task import LossSum, Nothing, Sample, SampleOutput, Subset, Task, Tensors, Window

__all__ = ["HighlightDetection", "HighlightDetectionOptions"]


class HighlightDetection(Task[HighlightSource, HighlightDetectionOptions]):
    """The saliency of every row for the query before it, from one linear layer."""

    answers_type: ClassVar[type[HighlightAnswers]] = HighlightAnswers
    main_metric = "HL-min-VeryGood-mAP"

    @staticmethod
    def open(annotations: Path, options: HighlightDetectionOptions) -> HighlightSource:
        """Return queries and the saliency of clips, official or ours."""
        return open_highlights(annotations)

    @cached_property
    def answers(self) -> HighlightAnswers:
        """What the head says; nothing of the annotations need be known."""
        return self.answers_type(Nothing(), self.options)

    @cache  # noqa: B019 - a task lives as long as its process
    def _queries(self, subset: Subset) -> dict[int, HighlightQuery]:
        return {query.qid: query for query in self.source.queries(subset)}

    def _asked(self, subset: Subset) -> Mapping[int, VideoQuery]:
        if subset == "test":
            return {query.qid: query for query in self.source.asked()}
        return self._queries(subset)

    # --- samples --------------------------------------------------------------------------------

    def samples(self, subset: Subset) -> list[Sample]:
        """Return one sample per query: the whole video, and the mean saliency of its clips."""
        queries = self._asked(subset).values()
        durations = self.source.durations(queries)
        return [_sample(query, durations.get(query.vid)) for query in queries]

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> dict[str, NDArray[np.float32]]:
        """Return the annotators' mean saliency, 0 to 4, of the clip at each row's centre."""
        saliency_C = _annotated(sample).saliency_C
        clips_T = clips_of(times_R2[window.start : window.stop])
        inside_T = clips_T < len(saliency_C)
        inside_T[: window.num_context] = False
        saliency_T = np.full(len(clips_T), np.nan, np.float32)
        saliency_T[inside_T] = saliency_C[clips_T[inside_T]]
        return {"saliency": saliency_T}

    # --- truth ----------------------------------------------------------------------------------

    def truth(self, sample: Sample) -> Answer | None:
        """Return the relevant windows, and how salient each clip is as a share of ``very good``."""
        if not sample.annotated:
            return None
        target = _annotated(sample)
        return Answer(
            video=sample.video_id,
            task=self.facts.name,
            duration=rounded(target.query.duration),
            queries=(
                QueryAnswer(
                    query=target.query.query,
                    spans=tuple(
                        Span(start=rounded(start), end=rounded(end), score=1.0)
                        for start, end in target.query.relevant_windows
                    ),
                    saliency=tuple(
                        Span(
                            start=float(clip * CLIP_SECONDS),
                            end=float((clip + 1) * CLIP_SECONDS),
                            score=rounded(saliency / HIGHEST_SALIENCY),
                        )
                        for clip, saliency in enumerate(target.saliency_C)
                    ),
                ),
            ),
        )

    # --- loss -----------------------------------------------------------------------------------

    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the cross-entropy between sigmoid(score) and saliency / 4, summed over rows."""
        from torch.nn import functional

        valid_BT = ~targets["saliency"].isnan()
        wanted_BT = targets["saliency"].nan_to_num(nan=0.0) / HIGHEST_SALIENCY
        # Padding may hold anything, and nan * 0 is nan.
        scores_BT = outputs["saliency"][..., 0].float().where(valid_BT, 0.0)
        total = functional.binary_cross_entropy_with_logits(
            scores_BT, wanted_BT, weight=valid_BT.float(), reduction="sum"
        )
        return LossSum(total=total, num_targets=valid_BT.sum())

    # --- write ----------------------------------------------------------------------------------

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write one line per query: the score of every clip, and windows made of them.

        A submission of validation or test queries is made whole, since the official evaluator knows
        no missing query: those without outputs get equal scores.
        """
        scores: dict[int, tuple[VideoQuery, NDArray[np.float64]]] = {}
        subset: Subset = "val"
        for output in outputs:
            query = _query_of(output.sample)
            scores[query.qid] = query, clip_scores(output, query.num_clips)
            subset = subset if output.sample.annotated else "test"
        queries = self._asked(subset)
        if scores.keys() <= queries.keys():
            for qid, query in queries.items():
                scores.setdefault(qid, (query, np.zeros(query.num_clips)))
        _write(scores.values(), path)

    def violations(self, predictions: Path, subset: Subset) -> Iterator[str]:
        """Say what of a submission breaks the published format."""
        return highlight_violations(predictions, self._asked(subset))

    # --- score ----------------------------------------------------------------------------------

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return the official percentages, to 2 decimals as official, and unrounded.

        ``HL-*`` need clip scores and ``MR-*`` windows; a submission may hold one of the two. A
        query without a moment counts for ``HL-*`` only.
        """
        queries = self._queries("val")
        given = read_highlights(predictions, list(queries))
        scores: dict[str, float | None] = {}
        windows = {
            qid: np.array(one.pred_relevant_windows)
            for qid, one in given.items()
            if one.pred_relevant_windows and queries[qid].relevant_windows
        }
        if windows:
            truth = [np.array(queries[qid].relevant_windows) for qid in windows]
            scores |= moment_scores(truth, list(windows.values()))
        clips = {
            qid: np.array(one.pred_saliency_scores)
            for qid, one in given.items()
            if one.pred_saliency_scores
        }
        if clips:
            saliency = [queries[qid].saliency_CA() for qid in clips]
            scores |= highlight_scores(saliency, list(clips.values()))
        rounded = {
            key: None if value is None else float(f"{value:.2f}") for key, value in scores.items()
        }
        return rounded | {f"{key}_unrounded": value for key, value in scores.items()}

    def quality(self, scores: Mapping[str, float | None]) -> float | None:
        """Return the average precision of very good clips as a fraction."""
        value = scores.get(f"{self.main_metric}_unrounded")
        return None if value is None else value / self.metric_scale

    # --- baselines ------------------------------------------------------------------------------

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of random numbers and of the mean training saliency at each clip.

        Args:
            folder: Gets the submissions ``chance.jsonl`` and ``majority.jsonl``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        queries = list(self._queries("val").values())
        prior_C = self._mean_training_saliency(max(query.num_clips for query in queries))
        submissions = {
            "chance": [(query, rng.random(query.num_clips)) for query in queries],
            "majority": [(query, prior_C[: query.num_clips]) for query in queries],
        }
        for name, scores in submissions.items():
            _write(scores, folder / f"{name}{self.facts.submission}")
        return {name: self.score(folder / f"{name}{self.facts.submission}") for name in submissions}

    def _mean_training_saliency(self, num_clips: int) -> NDArray[np.float64]:
        """Return the mean saliency of the n-th clip; 0 beyond the longest training video."""
        sums_C, counts_C = np.zeros(num_clips), np.zeros(num_clips)
        for sample in self.samples("train"):
            saliency_C = _annotated(sample).saliency_C[:num_clips]
            sums_C[: len(saliency_C)] += saliency_C
            counts_C[: len(saliency_C)] += 1
        return sums_C / np.maximum(counts_C, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """A query of which it is known what is salient."""

    query: HighlightQuery
    saliency_C: NDArray[np.float32]
    """Mean over the annotators."""


def _sample(query: VideoQuery, duration_seconds: float | None) -> Sample:
    target: _Target | VideoQuery = query
    record_ends: tuple[float, ...] = ()
    if isinstance(query, HighlightQuery):
        saliency_C = query.saliency_CA().mean(axis=1).astype(np.float32)
        target = _Target(query=query, saliency_C=saliency_C)
        record_ends = (query.last_relevant_seconds,)
    return Sample(
        video_id=query.vid,
        start_seconds=0.0,
        end_seconds=math.inf,
        target=target,
        duration_seconds=duration_seconds,
        query=query.query,
        query_id=str(query.qid),
        record_ends=record_ends,
        annotated=isinstance(query, HighlightQuery),
    )


def _annotated(sample: Sample) -> _Target:
    assert isinstance(sample.target, _Target)
    return sample.target


def _query_of(sample: Sample) -> VideoQuery:
    if isinstance(sample.target, _Target):
        return sample.target.query
    assert isinstance(sample.target, VideoQuery)
    return sample.target


def _write(scores: Iterable[tuple[VideoQuery, NDArray[np.float64]]], path: Path) -> None:
    write_highlights(
        path, ((query, highlights(scores_C), scores_C.tolist()) for query, scores_C in scores)
    )
