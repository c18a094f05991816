"""What one call of ``vllm-train`` does, from settings to a report.

Owns the run folder's rules: a run is never overwritten, and is continued only with its settings.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator

from cache_schema.errors import CheckpointError
from cache_schema.parsing import differences
from train.checkpoints.checkpoint import BEST, LAST, has_checkpoint, read_checkpoint
from train.checkpoints.record import Checkpoint
from train.config import PLACES, TrainConfig, run_folder
from train.loop.logs import METRICS, show_progress
from train.loop.parallel import main_process_first, make_accelerator
from train.loop.trainer import Trainer
from train.loop.validation import PREDICTIONS, joined
from train.predict.predictor import Scores, score_table
from train.prepare import Prepared, prepare

__all__ = ["Report", "Trained", "train"]


class Report(Protocol):
    """What a command has to say."""

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""

    def text(self) -> str:
        """Return it for a reader."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """The end of a run."""

    metrics: Scores
    """Official scores of the best checkpoint on the validation subset."""
    baselines: Mapping[str, Scores]
    run: Path
    steps: int
    seconds: float
    """Of this call."""
    best_epoch: int | None
    missing: list[str]

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "metrics": self.metrics,
            "baselines": self.baselines,
            "run": str(self.run),
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "best_epoch": self.best_epoch,
            "missing_videos": self.missing,
        }

    def text(self) -> str:
        """Return the score table and where everything lies."""
        lines = [score_table({"model": self.metrics, **self.baselines}), ""]
        if self.missing:
            lines.append(f"without {len(self.missing)} videos that the store does not hold")
        lines += [
            f"best epoch   {self.best_epoch}",
            f"checkpoint   {self.run / BEST}",
            f"predictions  {self.run / PREDICTIONS / 'val'}",
            f"metrics      {self.run / METRICS}",
        ]
        return "\n".join(lines)


def train(config: TrainConfig, *, resume: bool) -> Trained | None:
    """Train, evaluate and write a run.

    Args:
        config: Settings with all inputs.
        resume: Go on from the last checkpoint if there is one.

    Returns:
        The report; None on processes other than the main one.

    Raises:
        PipelineError: if an input, the run's folder or a step is wrong.
    """
    started = time.perf_counter()
    folder = run_folder(config)
    resumed = _resumed(config, folder, resume=resume)
    accelerator = make_accelerator(config.device, several_tasks=len(config.task) > 1)
    show_progress(accelerator.is_main_process)
    prepared = _prepare(config, accelerator, resumed)
    trainer = Trainer(prepared, accelerator, folder)
    if resumed is not None:
        trainer.restore()
    trainer.train()
    metrics = trainer.score_best()
    if not accelerator.is_main_process:
        return None
    return Trained(
        metrics=metrics,
        baselines=_baselines(prepared, folder),
        run=folder,
        steps=trainer.progress.step,
        seconds=time.perf_counter() - started,
        best_epoch=trainer.progress.best_epoch,
        missing=prepared.missing,
    )


def _baselines(prepared: Prepared, folder: Path) -> dict[str, Scores]:
    """Return baseline -> scores; of several tasks each is there if all of them have it."""
    own = {
        data.task.facts.name: data.task.baselines(
            folder / PREDICTIONS / "baselines" / data.task.facts.name
        )
        for data in prepared.tasks
    }
    shared = [name for name in next(iter(own.values())) if all(name in one for one in own.values())]
    return {name: joined({task: one[name] for task, one in own.items()}) for name in shared}


def _prepare(config: TrainConfig, accelerator: Accelerator, resumed: Checkpoint | None) -> Prepared:
    with main_process_first(accelerator):  # it converts the LLM for all
        return prepare(config, accelerator.device, resumed)


def _resumed(config: TrainConfig, folder: Path, *, resume: bool) -> Checkpoint | None:
    """Return the checkpoint to go on from, after checking that this is the same run."""
    if not has_checkpoint(folder / LAST):
        return None
    if not resume:
        raise CheckpointError(
            f"{folder}: holds a run already. --resume goes on with it, --out starts another one."
        )
    checkpoint, _ = read_checkpoint(folder / LAST)
    if fields := differences(checkpoint.config, config, ignore=PLACES):
        raise CheckpointError(
            f"{folder}: the run was started with other settings: {'; '.join(fields)}. Resume with "
            "the same, or start another run with --out."
        )
    return checkpoint
