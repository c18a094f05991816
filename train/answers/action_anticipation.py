"""Action anticipation: what will go on a second after every row, and a second later.

Shapes: R rows of a video, F future steps, K action classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from scipy.special import softmax

from cache_schema.parsing import record
from train.answer import Answer, Forecast, Row
from train.answers.parts import best_classes, duration, rounded
from train.challenges import EPIC_ANTICIPATION
from train.task import Answers, HeadContext, SampleOutput, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = [
    "ANTICIPATION_SECONDS",
    "ActionAnticipationOptions",
    "AnticipationAnswers",
    "AnticipationKnowledge",
]

ANTICIPATION_SECONDS = 1.0
"""tau_a: nothing later than this before a segment's start may be seen."""


Level = Annotated[int, Field(ge=0, le=5)]


@record
class ActionAnticipationOptions:
    """What can be chosen for this task."""

    steps: int = 2
    """How many seconds ahead every row learns, one step each; the first one is scored."""
    counts_from: Literal["use", "row"] = "use"
    """From which instant: the last one that the row is used for, or its own end, which is what the
    paper says word for word."""
    verb_count: int | None = None
    """Verb scores of a submission; the annotations tell where it is left out."""
    noun_count: int | None = None
    action_count: int | None = None
    """Actions that a submission lists; 100, or all classes if there are fewer."""
    sls_pt: Level = 1
    """What a submission states of its supervision, on the Supervision Levels Scale. Pretraining: 0
    none, 1 public images, 2 public labelled videos too, 3 public videos without labels, 4 videos of
    EPIC-KITCHENS without labels too, 5 private data."""
    sls_tl: Level = 3
    """Training labels: 0 none, 1 the order of classes, 2 narration timestamps, 3 starts and ends, 4
    boxes and masks too, 5 categories or other prior knowledge too."""
    sls_td: Level = 3
    """Training data: 0 none, 1 up to 5 examples of a class, 2 up to a quarter, 3 the training set,
    4 the validation set too, 5 other data too."""

    def __post_init__(self) -> None:
        for name in ("steps", "verb_count", "noun_count", "action_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")


@record
class AnticipationKnowledge:
    """Names of the actions."""

    class_names: tuple[str, ...]


class AnticipationAnswers(Answers[AnticipationKnowledge, ActionAnticipationOptions]):
    """The action at each of the next seconds, from one linear layer behind as many norms."""

    facts = TaskFacts(
        name="action_anticipation",
        submission=".json",
        online=True,
        class_outputs=True,
        challenge=EPIC_ANTICIPATION,
    )
    knowledge_type = AnticipationKnowledge
    options_type = ActionAnticipationOptions

    def labels(self) -> dict[str, Sequence[str]]:
        """Return the names of the classes."""
        return {"action": self.knowledge.class_names}

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return one normalisation per step and the linear layer to the classes they share."""
        from train.model.heads.future import FutureHeads

        num_classes = {"action": len(self.knowledge.class_names)}
        return FutureHeads(context.width, self.options.steps, num_classes)

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return what every row foretells, step by step."""
        (output,) = outputs
        probabilities_RFK = softmax(output.rows("action").astype(np.float64), axis=2)
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=duration(output),
            rows=tuple(
                Row(
                    start=rounded(start),
                    end=rounded(end),
                    ahead=tuple(
                        Forecast(
                            seconds=ANTICIPATION_SECONDS + step,
                            classes=best_classes(probabilities_K, self.knowledge.class_names),
                        )
                        for step, probabilities_K in enumerate(probabilities_FK)
                    ),
                )
                for (start, end), probabilities_FK in zip(
                    output.times_R2, probabilities_RFK, strict=True
                )
            ),
        )
