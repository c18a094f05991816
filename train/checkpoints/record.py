"""What a run remembers of itself: the content of a checkpoint's run.json."""

from collections.abc import Mapping
from dataclasses import field, replace

from cache_schema.errors import CheckpointError
from cache_schema.parsing import parse, record
from cache_schema.recipe import Recipe
from train.config import SideConfig, TrainConfig
from train.model.identity import LlmIdentity

__all__ = ["Checkpoint", "Progress"]

FORMAT_VERSION = 3
FIRST_WITH_SIDE = 3
"""Runs before it have no side network, and do not say so."""


@record
class Progress:
    """How far a run has come."""

    step: int = 0
    """Optimizer steps done; gives epoch and sampler position."""
    num_epochs: int = 0
    """Epochs done, each evaluated if it was due."""
    num_rows: int = 0
    """Rows shown, over all processes: visual tokens of the LLM."""
    seconds: float = 0.0
    """Spent on steps; evaluation not counted."""
    best_value: float | None = None
    """What the best epoch was chosen by; larger is better."""
    best_loss: float | None = None
    """Evaluation loss of the best epoch, which decides between equal ones; None if unknown."""
    best_epoch: int | float | None = None
    """From 1; 2.5 was in the middle of the third."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Official scores of the last evaluation."""

    @property
    def cost(self) -> dict[str, float]:
        """Return what the run has cost so far, by its names in the logs."""
        return {"total_rows": self.num_rows, "total_seconds": self.seconds}


@record
class Checkpoint:
    """The content of run.json."""

    config: TrainConfig
    stream: str
    recipe: Recipe
    row_shape: tuple[int, ...]
    pretrained: Mapping[str, LlmIdentity]
    """Module path -> network whose weights are not in the checkpoint; ``llm`` is the LLM."""
    samples_sha256: str
    """Over the rows that are trained on."""
    progress: Progress
    encoder_source: str = ""
    """See ``Stream.encoder_source``; empty in checkpoints of an earlier version."""
    encoder_sources: Mapping[str, str] = field(default_factory=dict)
    """The same for rows made of several streams: by the fingerprint of each one's recipe."""
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, text: str, *, where: str) -> "Checkpoint":
        """Return the content of a run.json, of this or an earlier version.

        Raises:
            CheckpointError: if it is damaged.
        """
        known = parse(cls, text, where=where, error=CheckpointError)
        if known.format_version >= FIRST_WITH_SIDE:
            return known
        return replace(known, config=replace(known.config, side=SideConfig(width=0)))

    def source_of(self, recipe: Recipe) -> str:
        """Return by which name the encoder of a recipe was loaded; empty if nobody noted it."""
        return self.encoder_sources.get(recipe.fingerprint, self.encoder_source)
