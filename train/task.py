"""What the trainer asks of a task.

A task turns official annotation files into samples (seconds, not rows), gives every window of
rows its targets, owns its head and loss, and turns the head's outputs back into an official
submission.

Shapes: B batch, T rows of a window, R rows of a sample, S appended tokens, E LLM width, 2 start and
end seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    import torch
    from torch import Tensor, nn

    from train.model.llm import LanguageModel

__all__ = [
    "IGNORED",
    "HeadContext",
    "LossSum",
    "QueryPlace",
    "Sample",
    "SampleOutput",
    "States",
    "Subset",
    "Task",
    "Window",
    "WindowOutput",
    "as_fraction",
    "without_context",
]

IGNORED = -100
"""Integer target that does not count; also what padding gets. Float targets are padded with NaN."""

Subset = Literal["train", "val"]

QueryPlace = Literal["none", "before", "after"]


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
    query: str = ""
    """Text that the LLM reads beside the rows, for tasks that have one."""
    record_ends: tuple[float, ...] = ()
    """When each annotated record of it ends (or is, if it is an instant), in seconds of the video:
    for telling whether annotations and features fit."""


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
    num_targets: int


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
        """Return an output that has one entry per row, for all R rows of the sample."""
        return np.concatenate(
            [
                output.arrays[name][output.window.num_context : output.window.num_rows]
                for output in self.windows
            ]
        )

    def times(self, window: Window) -> NDArray[np.float64]:
        """Return the (T, 2) start and end seconds of a window's rows."""
        return self.times_R2[window.start : window.stop]


def as_fraction(percent: float | None) -> float | None:
    """Return a metric given in percent as ``Task.quality`` has it; None stays None."""
    return None if percent is None else percent / 100


def without_context(values: NDArray[np.int64], window: Window) -> NDArray[np.int64]:
    """Return targets of a window's rows with ``IGNORED`` for the rows that only give a past."""
    counted = values.copy()
    counted[: window.num_context] = IGNORED
    return counted


class Task(Protocol):
    """One of the video-understanding tasks, bound to its annotations and options."""

    name: ClassVar[str]
    """The name in flags, settings and docs."""
    main_metric: ClassVar[str]
    """Key of ``score`` that the task is known by."""
    submission: ClassVar[str]
    """Suffix of a submission file, such as ``.json``; empty where it is a folder."""
    online: ClassVar[bool]
    """Whether a prediction may look at the past only, which forbids a bidirectional LLM."""
    query_place: ClassVar[QueryPlace]
    """Where ``Sample.query`` stands. Under a causal mask rows see only a query before them."""
    class_outputs: ClassVar[bool]
    """Whether all outputs are class logits of rows, so that several runs can decide together."""

    @property
    def appended_tokens(self) -> int:
        """Learned tokens behind rows and query, whose states the head gets as ``final_BSE``."""

    def samples(self, subset: Subset) -> list[Sample]:
        """Return the samples of a subset, in a stable order."""

    def targets(
        self, sample: Sample, times_R2: NDArray[np.float64], window: Window
    ) -> Mapping[str, NDArray[np.int64] | NDArray[np.float32]]:
        """Return the targets of one window of a sample by name.

        Batches pad every dimension at its end, integers with ``IGNORED``, floats with NaN.
        Where ``window.num_context`` rows only give a past, nothing of them is a target.

        Args:
            sample: One of ``samples``.
            times_R2: Times of all its rows.
            window: Rows ``[start, stop)`` of it.
        """

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Return output of the head -> name of each class, where its last dimension is classes."""

    def build_head(self, context: HeadContext) -> "nn.Module":
        """Return the task's head: ``States`` -> dict of output name -> tensor (B, ...)."""

    def loss(self, outputs: "Mapping[str, Tensor]", targets: "Mapping[str, Tensor]") -> LossSum:
        """Return the loss of a batch's outputs, summed over the targets that count."""

    def write_predictions(self, outputs: Iterable[SampleOutput], path: Path) -> None:
        """Write the official submission; samples come in any order, each may be let go of."""

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return every number the official evaluator prints for a submission file."""

    def quality(self, scores: Mapping[str, float | None]) -> float | None:
        """Return what picks the best epoch: 0 is worst, 1 is best, None is undefined."""

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of ``chance`` and ``majority``, by the same official rules.

        Args:
            folder: Where their submission files may be written.
        """
