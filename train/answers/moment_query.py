"""Moment queries: all instances of all moment classes, merged over the windows of a clip.

Shapes: M moments a window can name, N segments of a clip, K classes, 2 start and end seconds.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import softmax

from cache_schema.parsing import record
from train.answer import Answer, Segment
from train.answers.parts import duration, in_seconds, rounded
from train.challenges import EGO4D_MOMENT_QUERIES
from train.decoders.nms import nms, soft_nms
from train.task import Answers, HeadContext, SampleOutput, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = ["MAX_DETECTIONS", "MomentAnswers", "MomentKnowledge", "MomentQueryOptions"]

NMS_TIOU = 0.4
"""Of two segments of one class that overlap by more, only the better one is kept."""
SOFT_NMS_SIGMA = 0.46
"""The official baseline's, like the tIoU above and the number below."""
MAX_DETECTIONS = 200
"""Per clip."""
LEAST_SCORE = 0.05
"""Of a moment that people are told of; the metric alone looks at less likely ones."""

Floats = NDArray[np.float64]


@record
class MomentQueryOptions:
    """What can be chosen for this task."""

    num_moments: Annotated[int, Field(ge=1)] = 10
    """Most moments that one window can name."""
    memory_tokens: Literal["none", "one", "per_moment"] = "per_moment"
    """Learned tokens behind the rows, whose states become the segment memories; with ``none`` it is
    the state of the last row. ``none`` and ``one`` are the paper's two forms."""


@record
class MomentKnowledge:
    """Names of the moment classes."""

    class_names: tuple[str, ...]


class MomentAnswers(Answers[MomentKnowledge, MomentQueryOptions]):
    """Classes and boundaries of a window's moments, from learned tokens behind its rows."""

    facts = TaskFacts(
        name="moment_query",
        submission=".json",
        entries="windows",
        challenge=EGO4D_MOMENT_QUERIES,
    )
    knowledge_type = MomentKnowledge
    options_type = MomentQueryOptions

    @property
    def appended_tokens(self) -> int:
        """Learned tokens behind the rows."""
        return {"none": 0, "one": 1, "per_moment": self.options.num_moments}[
            self.options.memory_tokens
        ]

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Return the moment classes; the last stands for no moment."""
        return {"classes": (*self.knowledge.class_names, "nothing")}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return one normalisation layer per moment, and two linear layers that they share."""
        from train.model.heads.moments import MomentHead

        return MomentHead(context.width, self.options.num_moments, len(self.knowledge.class_names))

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return the likely moments of the whole video, best first."""
        (output,) = outputs
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=duration(output),
            segments=tuple(
                Segment(
                    start=rounded(one.start),
                    end=rounded(one.end),
                    label=one.label,
                    score=rounded(one.score),
                )
                for one in self.moments(output, 0.0, duration(output))
                if one.score >= LEAST_SCORE
            ),
        )

    def moments(
        self, output: SampleOutput, start_seconds: float, length_seconds: float
    ) -> list[Segment]:
        """Merge what the windows of a clip name; best first, at most ``MAX_DETECTIONS``.

        Args:
            output: Of the clip.
            start_seconds: Where it starts in the video; segments count from there.
            length_seconds: Of the clip; segments are cut to it.
        """
        segments_N2 = np.concatenate(
            [in_seconds(one.arrays["segments"], output.times(one.window)) for one in output.windows]
        )
        segments_N2 = (segments_N2 - start_seconds).clip(0, length_seconds)
        logits_NK = np.concatenate([one.arrays["classes"] for one in output.windows])
        scores_NK = softmax(logits_NK.astype(np.float64), axis=1)[:, :-1]
        return self._suppressed(segments_N2, scores_NK)

    def _suppressed(self, segments_N2: Floats, scores_NK: Floats) -> list[Segment]:
        """Keep the best segments: NMS within each class, then Soft-NMS across all."""
        kept = [
            (index, class_id)
            for class_id, scores_N in enumerate(scores_NK.T)
            for index in nms(segments_N2, scores_N, NMS_TIOU, MAX_DETECTIONS).tolist()
        ]
        indices, class_ids = np.array(kept).T
        candidates_N2, scores_N = segments_N2[indices], scores_NK[indices, class_ids]
        order, lowered = soft_nms(candidates_N2, scores_N, SOFT_NMS_SIGMA, MAX_DETECTIONS)
        return [
            Segment(
                start=float(candidates_N2[place, 0]),
                end=float(candidates_N2[place, 1]),
                label=self.knowledge.class_names[class_ids[place]],
                score=score,
            )
            for place, score in zip(order.tolist(), lowered.tolist(), strict=True)
        ]
