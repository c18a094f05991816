"""Action segmentation: the class of every row, and segments made of them.

Shapes: R rows of a video, F label frames of it, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from statistics import mean
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from cache_schema.parsing import record
from train.answer import Answer, Row
from train.answers.parts import best_classes, class_segments, duration, rounded
from train.data.row_times import rows_at
from train.decoders.row_classes import ClassOrder, causal_filter, measure_order, two_head
from train.decoders.segment_history import SegmentHistory, history_filter, measure_history
from train.metrics.segmental import LabelPair, segmental_scores
from train.task import Answers, HeadContext, SampleOutput, TaskFacts

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import nn

__all__ = [
    "BACKGROUND",
    "CHOSEN_BY",
    "ActionSegmentationOptions",
    "Decoding",
    "SegmentationAnswers",
    "SegmentationKnowledge",
]

BACKGROUND = "background"
"""Class that edit and F1 leave out; Breakfast's own is named SIL and therefore counts."""

Decoder = Literal["argmax", "two_head", "causal_filter", "history_filter"]


@record
class Decoding:
    """How the rows' scores become labels."""

    decoder: Decoder = "history_filter"
    filter_weight: float = 2.0


CHOICE = (
    Decoding(),
    *(Decoding(filter_weight=weight) for weight in (1.0, 1.5, 3.0, 4.5, 7.0)),
    Decoding(decoder="argmax"),
)
"""What ``decoder = "auto"`` chooses from; the first where nothing could be tried."""
CHOSEN_BY = ("Acc_video_mean", "Edit", "F1@0.10", "F1@0.25", "F1@0.50")
"""The mean of these, so that neither seconds nor segments are all that counts."""


@record
class ActionSegmentationOptions:
    """What can be chosen for this task."""

    split: int = 1
    """Number of the train and test split; Breakfast has 1 to 4."""
    label_fps: Fraction = Fraction(15)
    """Label frames per second of video."""
    label_smoothing: float = 0.0
    """Share of each target spread over all classes."""
    smoothing_weight: float = 0.15
    """Weight of the truncated-MSE loss between neighbouring rows; as in MS-TCN."""
    next_weight: float = 0.0
    """Weight of a second head's loss, which names the next row's class; 0 leaves it out."""
    decoder: Literal["auto", "argmax", "two_head", "causal_filter", "history_filter"] = "auto"
    """How the rows' scores become labels; all are causal. ``two_head`` adds the previous row's
    forecast, ``causal_filter`` which label followed which in training
    (``train.decoders.row_classes``), ``history_filter`` what followed all that was done before,
    and how long it took (``train.decoders.segment_history``). ``auto`` is the last, with the weight
    that names the videos best by which the best epoch was picked, or ``argmax`` if that does."""
    filter_weight: float | None = None
    """Of the scores against what was seen in training, for the two filters; None is what was chosen
    by ``auto``, else 2."""
    variant: Literal["ms-tcn", "asformer"] = "ms-tcn"
    """``asformer`` adds the numbers by ASFormer's ``eval.py``."""

    def __post_init__(self) -> None:
        if self.label_fps <= 0:
            raise ValueError(f"label_fps is {self.label_fps}, must be positive")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, must be in [0, 1)")
        for name in ("smoothing_weight", "next_weight", "filter_weight"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative")
        if self.decoder == "two_head" and not self.next_weight:
            raise ValueError("decoder 'two_head' needs the second head: set next_weight, e.g. 0.5")


@record
class SegmentationKnowledge:
    """Class names, and what followed what in training."""

    class_names: tuple[str, ...]
    transcripts: tuple[tuple[tuple[int, int], ...], ...] = ()
    """Class and number of label frames of each run of each training video."""
    decoding: Decoding | None = None
    """What was chosen by videos that picked the best epoch; None if nothing was."""


class SegmentationAnswers(Answers[SegmentationKnowledge, ActionSegmentationOptions]):
    """One class per row, from one linear layer."""

    facts = TaskFacts(name="action_segmentation", class_outputs=True)
    knowledge_type = SegmentationKnowledge
    options_type = ActionSegmentationOptions

    def adopt(self, built: Answers[SegmentationKnowledge, ActionSegmentationOptions]) -> None:
        """Take over what followed what where it was trained, and what was chosen there.

        Annotations that are predicted later may hold other training videos, or none.
        """
        self.knowledge = built.knowledge

    def labels(self) -> dict[str, Sequence[str]]:
        """Return the class names of both layers."""
        return dict.fromkeys(self.outputs, self.knowledge.class_names)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the head's layers: the row's own class, and the next row's if it is learned."""
        return ("current", "next") if self.options.next_weight else ("current",)

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return one linear layer to the classes, and one for the next row's if it is learned."""
        from train.model.heads.linear import LinearHeads

        num_classes = len(self.knowledge.class_names)
        return LinearHeads(context.width, dict.fromkeys(self.outputs, num_classes))

    def answer(self, outputs: Sequence[SampleOutput], queries: Sequence[str]) -> Answer:
        """Return the runs of rows of one class."""
        (output,) = outputs
        probabilities_RK = softmax(output.rows("current").astype(np.float64), axis=1)
        return Answer(
            video=output.sample.video_id,
            task=self.facts.name,
            duration=duration(output),
            segments=class_segments(
                self.classes(output), probabilities_RK, output.times_R2, self.knowledge.class_names
            ),
        )

    def row_classes(self, output: SampleOutput) -> tuple[Row, ...]:
        """Return how probable classes are at each row, before they are decoded."""
        probabilities_RK = softmax(output.rows("current").astype(np.float64), axis=1)
        return tuple(
            Row(
                start=rounded(start),
                end=rounded(end),
                now=best_classes(probabilities_K, self.knowledge.class_names),
            )
            for (start, end), probabilities_K in zip(output.times_R2, probabilities_RK, strict=True)
        )

    def classes(self, output: SampleOutput) -> NDArray[np.int64]:
        """Return the class of every row (R,), decoded as the options say."""
        return self._classes(output, self.decoding)

    @property
    def decoding(self) -> Decoding:
        """How rows become labels: as the options say, else as was chosen."""
        options, chosen = self.options, self.knowledge.decoding
        if options.decoder == "auto" and options.filter_weight is None and chosen is not None:
            return chosen
        decoding = CHOICE[0]
        if options.decoder != "auto":
            decoding = replace(decoding, decoder=options.decoder)
        if options.filter_weight is not None:
            decoding = replace(decoding, filter_weight=options.filter_weight)
        return decoding

    def worth(self, outputs: Sequence[SampleOutput]) -> float:
        """Return the mean of ``CHOSEN_BY`` as a fraction, of ``argmax`` if that may be chosen."""
        tried = (self.decoding, CHOICE[-1]) if self.settles else (self.decoding,)
        return max(self._score(outputs, one) for one in tried) / 100

    @property
    def settles(self) -> bool:
        """Whether there is something to choose."""
        options = self.options
        is_open = options.decoder == "auto" and options.filter_weight is None
        return is_open and bool(self.knowledge.transcripts)

    def settle(self, outputs: Sequence[SampleOutput]) -> str:
        """Choose the decoding that names these videos best."""
        best = max(CHOICE, key=lambda one: self._score(outputs, one))
        self.knowledge = replace(self.knowledge, decoding=best)
        weight = "" if best.decoder == "argmax" else f", filter_weight {best.filter_weight:g}"
        return f"rows become labels by {best.decoder}{weight}"

    def _score(self, outputs: Sequence[SampleOutput], decoding: Decoding) -> float:
        names = self.knowledge.class_names
        pairs = [
            LabelPair(
                truth_F=np.asarray(output.sample.target, np.int64),
                predicted_F=self._frames(output, self._classes(output, decoding)),
            )
            for output in outputs
        ]
        background = names.index(BACKGROUND) if BACKGROUND in names else None
        scores = segmental_scores(pairs, background)
        return mean(scores[key] for key in CHOSEN_BY)

    def _classes(self, output: SampleOutput, decoding: Decoding) -> NDArray[np.int64]:
        current_RK = output.rows("current")
        if decoding.decoder == "two_head":
            return two_head(current_RK, output.rows("next"))
        if decoding.decoder == "causal_filter":
            order = self._order(self._frames_per_row(output))
            return causal_filter(current_RK, order, decoding.filter_weight)
        if decoding.decoder == "history_filter" and self.knowledge.transcripts:
            history = self._history(self._frames_per_row(output))
            return history_filter(current_RK, history, decoding.filter_weight)
        classes_R: NDArray[np.int64] = current_RK.argmax(axis=1)
        return classes_R

    def frame_classes(self, output: SampleOutput) -> NDArray[np.int64]:
        """Give each label frame of a video with labels the class of the row at its middle."""
        return self._frames(output, self.classes(output))

    def _frames(self, output: SampleOutput, classes_R: NDArray[np.int64]) -> NDArray[np.int64]:
        num_frames = len(np.asarray(output.sample.target))
        middles_F = (np.arange(num_frames, dtype=np.float64) + 0.5) / float(self.options.label_fps)
        return classes_R[rows_at(output.times_R2, middles_F)]

    def _frames_per_row(self, output: SampleOutput) -> int:
        """Return how many label frames a row covers, at least one."""
        row_seconds = float(np.median(output.times_R2[:, 1] - output.times_R2[:, 0]))
        return round(row_seconds * float(self.options.label_fps)) or 1

    @cache  # noqa: B019 - it lives as long as its process
    def _order(self, frames_per_row: int) -> ClassOrder:
        """Return how the training labels follow one another, one label per row."""
        labels = (
            np.repeat(*np.array(runs, np.int64).T)[::frames_per_row]
            for runs in self.knowledge.transcripts
        )
        return measure_order(labels, len(self.knowledge.class_names))

    @cache  # noqa: B019 - it lives as long as its process
    def _history(self, frames_per_row: int) -> SegmentHistory:
        """Return what followed what in training, with lengths in rows."""
        transcripts = [
            [(number, round(frames / frames_per_row) or 1) for number, frames in runs]
            for runs in self.knowledge.transcripts
        ]
        return measure_history(transcripts, len(self.knowledge.class_names))
