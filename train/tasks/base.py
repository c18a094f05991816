"""What the trainer asks of a task.

A task turns official annotation files into samples (seconds, not rows), gives every row its
target, owns its head and loss, and turns the head's outputs back into an official submission.

Shapes: B batch, T rows of a window, K classes, E LLM width, 2 start and end seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # vllm-score reads this module and must start without torch.
    from torch import Tensor, nn

__all__ = ["IGNORED", "LossSum", "Outputs", "Sample", "Subset", "Task"]

IGNORED = -100
"""Target of a row that does not count; also what padding gets."""

Subset = Literal["train", "val"]

Outputs = dict[str, NDArray[np.float32]]
"""Head name -> (T, K) scores of all rows of one sample, windows already stitched together."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSum:
    """A loss before it is normalised, so that any split of a batch gives the same gradient."""

    total: "Tensor"
    """Scalar: sum over the valid targets."""
    num_targets: int


class Task(Protocol):
    """One of the video-understanding tasks, bound to its annotations and options."""

    name: ClassVar[str]
    """The name in flags, settings and docs."""
    main_metric: ClassVar[str]
    """Key of ``score`` that picks the best checkpoint; larger is better."""

    def samples(self, subset: Subset) -> list[Sample]:
        """Return the samples of a subset, in a stable order."""

    def row_targets(
        self, sample: Sample, times_T2: NDArray[np.float64]
    ) -> dict[str, NDArray[np.int64]]:
        """Return head name -> (T,) class of each row, ``IGNORED`` where none counts."""

    def build_head(self, width: int) -> "nn.Module":
        """Return the task's head: hidden_BTE -> dict of head name -> logits_BTK."""

    def loss(self, logits: "Mapping[str, Tensor]", targets: "Mapping[str, Tensor]") -> LossSum:
        """Return the summed loss of (B, T, K) logits against (B, T) targets."""

    def write_predictions(
        self,
        outputs: Sequence[tuple[Sample, Outputs, NDArray[np.float64]]],
        path: Path,
    ) -> None:
        """Write the official submission from each sample's outputs and row times (T, 2)."""

    def score(self, predictions: Path) -> dict[str, float | None]:
        """Return every number the official evaluator prints for a submission file."""

    def baselines(self, folder: Path) -> dict[str, dict[str, float | None]]:
        """Return the scores of ``chance`` and ``majority``, by the same official rules.

        Args:
            folder: Where their submission files may be written.
        """
