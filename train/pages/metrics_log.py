"""A run's metrics.jsonl, read back: arrays of steps, entries of epochs.

Shapes: S steps.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochEntry", "MetricsLog", "read_metrics"]

STEP_KEYS = ("step", "loss", "lr", "seconds", "wait_seconds", "rows")
OF_COST = ("total_rows", "total_seconds", "evaluation_seconds", "cache_hit_rate")


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochEntry:
    """What was measured at the end of one epoch, or within one."""

    epoch: int | float
    """From 1; no whole number within an epoch."""
    step: int
    """Steps done."""
    loss: float | None
    """On what the epoch was evaluated with; None where it was not."""
    scores: Mapping[str, float | None]
    """Official scores; empty where an epoch is chosen without them."""
    evaluation_seconds: float | None
    """None in logs of an earlier version, and where nothing was evaluated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsLog:
    """All entries of a run."""

    steps_S: NDArray[np.float64]
    losses_S: NDArray[np.float64]
    rates_S: NDArray[np.float64]
    """Learning rates."""
    seconds_S: NDArray[np.float64]
    waits_S: NDArray[np.float64]
    """Of each step's seconds, those in which data was waited for."""
    rows_S: NDArray[np.float64]
    evaluations: list[EpochEntry]
    """Ends of epochs too that were not evaluated."""

    @property
    def epochs(self) -> list[EpochEntry]:
        """Only the ends of epochs."""
        return [one for one in self.evaluations if one.epoch == int(one.epoch)]

    @property
    def num_steps(self) -> int:
        """S."""
        return len(self.steps_S)

    @property
    def evaluation_seconds(self) -> float | None:
        """All evaluations together; None if no time is known."""
        known = [one.evaluation_seconds for one in self.evaluations if one.evaluation_seconds]
        return sum(known) if known else None

    def at(self, epoch: int | float | None) -> EpochEntry | None:
        """Return what was measured then, None if nothing was."""
        return next((one for one in self.evaluations if one.epoch == epoch), None)


def read_metrics(path: Path) -> MetricsLog:
    """Read a log, also one that is still being written; an absent one is empty."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # A process that is writing, or was killed while it did, leaves a last line that is no JSON.
    entries = [json.loads(line) for line in lines if line.endswith("}")]
    steps = [one for one in entries if one["kind"] == "train"]
    table = np.array([[one[key] for key in STEP_KEYS] for one in steps], np.float64)
    columns = table.reshape(-1, len(STEP_KEYS)).T
    return MetricsLog(
        steps_S=columns[0],
        losses_S=columns[1],
        rates_S=columns[2],
        seconds_S=columns[3],
        waits_S=columns[4],
        rows_S=columns[5],
        evaluations=[_epoch(one) for one in entries if one["kind"] in {"epoch", "evaluation"}],
    )


def _epoch(entry: Mapping[str, Any]) -> EpochEntry:
    others = {"kind", "step", "epoch", "evaluation_loss", *OF_COST}
    return EpochEntry(
        epoch=entry["epoch"],
        step=entry["step"],
        loss=entry.get("evaluation_loss"),
        scores={key: value for key, value in entry.items() if key not in others},
        evaluation_seconds=entry.get("evaluation_seconds"),
    )
