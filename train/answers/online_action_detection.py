"""Online action detection: what goes on in every row, and in the one after it.

Shapes: R rows of a video, K columns: background, then the classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from cache_schema.parsing import record
from train.answer import Answer, Row
from train.answers.parts import best_classes, class_segments, duration, rounded
from train.task import Answers, HeadContext, SampleOutput, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = ["DetectionAnswers", "DetectionKnowledge", "OnlineActionDetectionOptions"]


@record
class OnlineActionDetectionOptions:
    """What can be chosen for this task."""

    learn_background: bool = False
    """Whether rows without an action are targets. The recalls look at action cells only, and LSTR,
    TeSTra and MAT leave background out of their loss; mAP also counts false alarms, so it may gain.
    """


@record
class DetectionKnowledge:
    """Names of the columns."""

    class_names: tuple[str, ...]
    """The first is background."""


class DetectionAnswers(Answers[DetectionKnowledge, OnlineActionDetectionOptions]):
    """The current and the next row's action, from two linear layers on every row."""

    facts = TaskFacts(
        name="online_action_detection", submission=".npz", online=True, class_outputs=True
    )
    knowledge_type = DetectionKnowledge
    options_type = OnlineActionDetectionOptions

    def labels(self) -> dict[str, Sequence[str]]:
        """Return the names of both layers' columns."""
        return dict.fromkeys(("current", "next"), self.knowledge.class_names)

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return two linear layers: the current row's column and the next one's."""
        from train.model.heads.linear import LinearHeads

        num_columns = len(self.knowledge.class_names)
        return LinearHeads(context.width, {"current": num_columns, "next": num_columns})

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return every row's most probable classes, and the runs of the most probable one."""
        (output,) = outputs
        current_RK, next_RK = (self._probabilities(output.rows(n)) for n in ("current", "next"))
        names = self.knowledge.class_names
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=duration(output),
            segments=class_segments(current_RK.argmax(axis=1), current_RK, output.times_R2, names),
            rows=tuple(
                Row(
                    start=rounded(start),
                    end=rounded(end),
                    now=best_classes(current_K, names),
                    next=best_classes(next_K, names),
                )
                for (start, end), current_K, next_K in zip(
                    output.times_R2, current_RK, next_RK, strict=True
                )
            ),
        )

    def _probabilities(self, logits_RK: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return softmax scores; background has none where it was not learned."""
        logits_RK = logits_RK.astype(np.float64)
        if not self.options.learn_background:
            logits_RK[:, 0] = -np.inf
        probabilities_RK: NDArray[np.float64] = softmax(logits_RK, axis=1)
        return probabilities_RK
