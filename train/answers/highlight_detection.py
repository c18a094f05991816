"""Highlight detection: how well each row shows what a query asks, and the highlights made of it.

Shapes: R rows of a video, C 2-s clips of a video, 2 start and end seconds.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cache_schema.parsing import record
from train.answer import Answer, QueryAnswer, Span
from train.answers.parts import duration, rounded
from train.challenges import QVHIGHLIGHTS
from train.data.row_times import ROUNDING_SECONDS, rows_at
from train.task import Answers, HeadContext, Nothing, SampleOutput, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = [
    "CLIP_SECONDS",
    "HighlightAnswers",
    "HighlightDetectionOptions",
    "clip_scores",
    "clips_of",
    "highlights",
]

CLIP_SECONDS = 2
"""What QVHighlights' annotators looked at."""


@record
class HighlightDetectionOptions:
    """Nothing can be chosen for this task."""


class HighlightAnswers(Answers[Nothing, HighlightDetectionOptions]):
    """The saliency of every row for the query before it, from one linear layer."""

    facts = TaskFacts(
        name="highlight_detection",
        submission=".jsonl",
        query_place="before",
        challenge=QVHIGHLIGHTS,
    )
    options_type = HighlightDetectionOptions

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Return nothing: a saliency is no class."""
        return {}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return one linear layer: the saliency of each row."""
        from train.model.heads.linear import LinearHeads

        return LinearHeads(context.width, {"saliency": 1})

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return the saliency over time and the highlights of each query."""
        return Answer(
            video=outputs[0].sample.video_id,
            task=self.facts.name,
            duration=duration(outputs[0]),
            queries=tuple(
                QueryAnswer(query=query, spans=_spans(output), saliency=_saliency(output))
                for query, output in zip(queries, outputs, strict=True)
            ),
        )


def _spans(output: SampleOutput) -> tuple[Span, ...]:
    end = duration(output)
    # The last clip may be cut short: what it shows counts, too.
    num_clips = math.ceil((end - ROUNDING_SECONDS) / CLIP_SECONDS) or 1
    scores_C = clip_scores(output, num_clips)
    return tuple(
        Span(start=float(start), end=min(float(stop), end), score=rounded(expit(score)))
        for start, stop, score in highlights(scores_C)
    )


def _saliency(output: SampleOutput) -> tuple[Span, ...]:
    scores_R = expit(output.rows("saliency")[:, 0].astype(np.float64))
    return tuple(
        Span(start=rounded(start), end=rounded(end), score=rounded(score))
        for (start, end), score in zip(output.times_R2, scores_R, strict=True)
    )


def clips_of(times_T2: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the clip at each row's centre."""
    centres_T = times_T2.mean(axis=1) + ROUNDING_SECONDS
    clips_T: NDArray[np.int64] = np.floor(centres_T / CLIP_SECONDS).astype(np.int64)
    return clips_T


def clip_scores(output: SampleOutput, num_clips: int) -> NDArray[np.float64]:
    """Return each clip's score (C,): the mean of the rows whose centre lies in it.

    A clip without one gets the score of the row at its middle.
    """
    scores_R = output.rows("saliency")[:, 0].astype(np.float64)
    clips_R = clips_of(output.times_R2)
    inside_R = clips_R < num_clips
    sums_C = np.bincount(clips_R[inside_R], scores_R[inside_R], minlength=num_clips)
    counts_C = np.bincount(clips_R[inside_R], minlength=num_clips)
    middles_C = (np.arange(num_clips, dtype=np.float64) + 0.5) * CLIP_SECONDS
    nearest_C = scores_R[rows_at(output.times_R2, middles_C)]
    return np.where(counts_C > 0, sums_C / np.maximum(counts_C, 1), nearest_C)


def highlights(scores_C: NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """Return start, end and mean score of the runs of clips in the upper half of the range.

    Best first.
    """
    above_C = scores_C >= (scores_C.min() + scores_C.max()) / 2
    windows = []
    for above, run in groupby(range(len(scores_C)), key=lambda clip: bool(above_C[clip])):
        if above:
            clips = list(run)
            score = round(float(scores_C[clips].mean()), 6)
            windows.append((clips[0] * CLIP_SECONDS, (clips[-1] + 1) * CLIP_SECONDS, score))
    return sorted(windows, key=lambda window: -window[2])
