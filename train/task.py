"""The seam between the tasks and everything else: what a task is.

A task has two halves. ``Answers`` is what a trained head says: the head itself, and its outputs
made into classes, segments and sentences. It knows class names and options and needs no
annotations, so a checkpoint is enough to rebuild it. ``Task`` is how that is learned and measured:
official files -> samples (seconds, not rows), the targets of every window, loss, submission, score.

Shapes: B batch, T rows of a window, R of a sample, S appended tokens, E LLM width, 2 start and end.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cache_schema.parsing import record
from train.challenges import Challenge

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    import torch
    from torch import Tensor, nn

    from train.answer import Answer, Row
    from train.model.llm import LanguageModel

__all__ = [
    "IGNORED",
    "Answers",
    "Entries",
    "HeadContext",
    "LossSum",
    "Nothing",
    "QueryPlace",
    "Sample",
    "SampleOutput",
    "States",
    "Subset",
    "Task",
    "TaskFacts",
    "Tensors",
    "Window",
    "WindowOutput",
    "whole_video",
]

IGNORED = -100
"""Integer target that does not count; also what padding gets. Float targets are padded with NaN."""

Subset = Literal["train", "val", "test"]
"""``test`` has no labels that are public; only tasks with a challenge have it."""

QueryPlace = Literal["none", "before", "after"]
"""Where a query's text stands. Under a causal mask rows see only a query before them."""

Tensors = Mapping[str, "Tensor"]
"""Outputs of a head, or targets of a batch, by name."""

Arrays = Mapping[str, NDArray[Any]]

Entries = Literal["rows", "places", "windows", "words"]
"""What a head's outputs have one entry for: the rows of a window; the places a pointer can point
to, which are "nothing here" and then the rows; the window as a whole; the words it writes."""

Known = TypeVar("Known")
Chosen = TypeVar("Chosen")
Source = TypeVar("Source")


@record
class Nothing:
    """Nothing to know, or nothing to choose."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """What is true of a task whatever its options and annotations are."""

    name: str
    """The name in flags, settings and docs."""
    submission: str = ""
    """Suffix of a submission file, such as ``.json``; empty where it is a folder."""
    online: bool = False
    """Whether a prediction may look at the past only, which forbids a bidirectional LLM."""
    query_place: QueryPlace = "none"
    query_text: Callable[[str], str] = str
    """Turns a query as it was asked into what the LLM reads."""
    class_outputs: bool = False
    """Whether all outputs are class logits of rows, so that several runs can decide together."""
    entries: Entries = "rows"
    """What the head's outputs have one entry for."""
    challenge: Challenge | None = None
    """Who scores the subset ``test``; None where there is none."""

    @property
    def shares_rows(self) -> bool:
        """Whether several queries about the same rows can be answered by reading them once."""
        return self.query_place == "after"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One stretch of one video and what is to be learned from it."""

    video_id: str
    """As the annotation file names it; the store may hold it below a folder."""
    start_seconds: float
    end_seconds: float
    """Exclusive; ``math.inf`` for the whole video."""
    target: object
    """Owned by the task."""
    clip_id: str = ""
    """Of the stretch, where it has one: finds features that were made of it alone."""
    duration_seconds: float | None = None
    """Of the video, by its annotations; None where they do not say it."""
    query: str = ""
    """Text that the LLM reads beside the rows, for tasks that have one."""
    query_id: str = ""
    """Names the query in a release of text features."""
    record_ends: tuple[float, ...] = ()
    """When each annotated record ends (or is, if an instant), in seconds of the video."""
    annotated: bool = True
    """False in the subset ``test``: its target says what is asked, not what is right."""


def whole_video(video_id: str, query: str = "") -> Sample:
    """Return all of a video as a sample of which nothing is known."""
    return Sample(
        video_id=video_id, start_seconds=0.0, end_seconds=math.inf, target=None, query=query
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Rows ``[start, stop)`` of one sample."""

    sample: int
    """Index of the sample."""
    start: int
    stop: int
    num_context: int = 0
    """Rows at the front that an earlier window predicts; they only give a past."""
    seed: int = 0
    """Of everything random that training does to the window."""

    @property
    def num_rows(self) -> int:
        """Rows of the window, context included."""
        return self.stop - self.start

    def without_context(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return targets of the window's rows with ``IGNORED`` for those that only give a past."""
        counted = values.copy()
        counted[: self.num_context] = IGNORED
        return counted


@dataclass(frozen=True, kw_only=True, slots=True)
class States:
    """What a head may look at: the LLM's last states, for one batch of windows."""

    rows_BTE: "Tensor"
    """Of each row."""
    valid_BT: "Tensor"
    """True for rows, False for padding, which lies behind them."""
    final_BSE: "Tensor"
    """Of the appended tokens; with none, S = 1 and it is the state of the last token."""
    targets: "Mapping[str, Tensor]"
    """The batch's targets, for heads that need them as input (captions). NaN and IGNORED pad."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadContext:
    """What a head may be built from."""

    width: int
    """E of the states."""
    llm: "LanguageModel | None"
    """The LLM between translator and head; its weights are not the head's."""
    device: "torch.device"
    """Where it will run."""
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSum:
    """A loss before it is normalised, so that any split of a batch gives the same gradient."""

    total: "Tensor"
    """Scalar: sum over the valid targets."""
    num_targets: "int | Tensor"  # a tensor where it is counted on the device, unasked


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowOutput:
    """What the head said about one window."""

    window: Window
    arrays: Mapping[str, NDArray[Any]]
    """Head output -> array without the batch dimension. Outputs with one entry per row are padded
    at their end to the longest window of the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleOutput:
    """What the head said about one sample, window by window."""

    sample: Sample
    times_R2: NDArray[np.float64]
    """Start and end second of each row of the sample."""
    windows: Sequence[WindowOutput]
    """In the order of their rows; together their new rows are all rows of the sample, once."""

    def rows(self, name: str) -> NDArray[np.float32]:
        """Return an output that has one entry per row, for all R rows of the sample.

        It may be the output itself, so it must not be changed.
        """
        new = [
            output.arrays[name][output.window.num_context : output.window.num_rows]
            for output in self.windows
        ]
        # Not copied where it is one: that of a stream lies on the disk.
        return new[0] if len(new) == 1 else np.concatenate(new)

    def times(self, window: Window) -> NDArray[np.float64]:
        """Return the (T, 2) start and end seconds of a window's rows."""
        return self.times_R2[window.start : window.stop]


@dataclass(eq=False)
class Answers(ABC, Generic[Known, Chosen]):
    """What a trained head says; built from a checkpoint alone."""

    knowledge: Known
    """What of the annotations it must know, such as class names; kept in the checkpoint."""
    options: Chosen

    facts: ClassVar[TaskFacts]
    knowledge_type: ClassVar[type] = Nothing
    """Record of ``knowledge``."""
    options_type: ClassVar[type] = Nothing
    """Record of ``options``."""

    @property
    def appended_tokens(self) -> int:
        """Learned tokens behind rows and query, whose states the head gets as ``final_BSE``."""
        return 0

    @abstractmethod
    def labels(self) -> Mapping[str, Sequence[str]]:
        """Return output of the head -> name of each class, where its last dimension is classes."""

    @abstractmethod
    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return the task's head: ``States`` -> dict of output name -> tensor (B, ...)."""

    def inputs(self, sample: Sample, times_R2: NDArray[np.float64], window: Window) -> Arrays:
        """Return what the head must be told of a window of a sample without annotations."""
        return {}

    def row_inputs(self, end: float, next_end: float) -> Arrays:
        """Return the same of a row that has just come, as if it were a window of its own.

        Args:
            end: Of the row, in seconds.
            next_end: Of the row that will follow; ``math.inf`` where none will.
        """
        return {}

    def adopt(self, built: "Answers[Known, Chosen]") -> None:
        """Take over what the head was built with, from answers that have built theirs.

        Where targets depend on it, as on the tokenizer of what writes words.
        """
        return

    def row_classes(self, output: SampleOutput) -> "tuple[Row, ...]":
        """Return how probable classes are at each row, where ``answer`` does not tell it."""
        return ()

    @abstractmethod
    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> "Answer":
        """Say what the outputs mean.

        Args:
            outputs: Of one video: one, or one for each query.
            queries: As they were asked.
        """


@dataclass(eq=False)
class Task(ABC, Generic[Source, Chosen]):
    """One of the video-understanding tasks, bound to its annotations and options."""

    source: Source
    """Where its annotations come from; files are read when asked for."""
    options: Chosen

    answers_type: ClassVar[type[Answers[Any, Any]]]
    """The other half."""
    metric_scale: ClassVar[float] = 100.0
    """What the main metric is at best; 1 where it is a fraction."""

    @staticmethod
    @abstractmethod
    def open(annotations: Path, options: Any) -> Any:  # noqa: ANN401 - each task has its own
        """Return the source of a task's annotations at a path."""

    @property
    def facts(self) -> TaskFacts:
        """What is true of the task in any case."""
        return self.answers_type.facts

    @property
    @abstractmethod
    def answers(self) -> Answers[Any, Chosen]:
        """The other half, with what these annotations say."""

    @property
    @abstractmethod
    def main_metric(self) -> str:
        """Key of ``score`` that the task is known by."""

    @abstractmethod
    def samples(self, subset: Subset) -> list[Sample]:
        """Return the samples of a subset, in a stable order."""

    @abstractmethod
    def targets(self, sample: Sample, times_R2: NDArray[np.float64], window: Window) -> Arrays:
        """Return the targets of one window of a sample by name.

        Batches pad every dimension at its end, integers with ``IGNORED``, floats with NaN.
        Where ``window.num_context`` rows only give a past, nothing of them is a target.

        Args:
            sample: One of ``samples``.
            times_R2: Times of all its rows.
            window: Rows ``[start, stop)`` of it.
        """

    def truth(self, sample: Sample) -> "Answer | None":
        """Return what the annotations say, in the words of an answer; None where they say nothing.

        Times are seconds of the video, labels are those of the answers, every score is 1. What an
        answer calls the video's duration is here the last instant that the annotations tell of.

        Args:
            sample: One of ``samples``.
        """
        return None

    @abstractmethod
    def loss(self, outputs: Tensors, targets: Tensors) -> LossSum:
        """Return the loss of a batch's outputs, summed over the targets that count."""

    @abstractmethod
    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write the official submission; samples come in any order, each may be let go of."""

    def violations(self, predictions: Path, subset: Subset) -> Iterable[str]:
        """Say, a sentence each, what of a submission breaks its challenge's published rules."""
        return ()

    @abstractmethod
    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return every number the official evaluator prints for a submission file."""

    def said(self, output: SampleOutput) -> "Answer":
        """Say what the output of one of ``samples`` means, where its annotations ask for it."""
        if self.facts.query_place == "none":
            return self.answers.answer([output], ())
        truth = self.truth(output.sample)
        asked = [one.query for one in truth.queries] if truth is not None else []
        return self.answers.answer([output], asked or [output.sample.query])

    def quality(self, scores: Mapping[str, float | None]) -> float | None:
        """Return what picks the best epoch: 0 is worst, 1 is best, None is undefined.

        The main metric, which most evaluators give in percent.
        """
        value = scores[self.main_metric]
        return None if value is None else value / self.metric_scale

    @classmethod
    def lower_is_better(cls, metric: str) -> bool:
        """Tell whether a number of ``score`` is an error or a distance: the lower, the better."""
        return False

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of ``chance`` and ``majority``, by the same official rules, if any.

        Args:
            folder: Where their submission files may be written.
        """
        return {}
