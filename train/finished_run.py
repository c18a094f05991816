"""What a run says at its end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cache_schema.parsing import to_mapping
from train.checkpoints.folder import BEST
from train.checkpoints.result import METRICS, CacheUse
from train.data.fit import Fit, fits_json
from train.feature_cache import cache_text
from train.predict.predictor import Scores, score_table

__all__ = ["FinishedRun"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRun:
    """The end of a run."""

    metrics: Scores
    """Official scores of the best checkpoint on the validation subset."""
    baselines: Mapping[str, Scores]
    run: Path
    steps: int
    seconds: float
    """Of this call."""
    best_epoch: int | float | None
    predictions: Mapping[str, Path]
    """Task -> its submission of the validation subset, as ``vllm-score`` takes it."""
    missing: list[str]
    fits: list[Fit] = field(default_factory=list)
    """Of each task's annotations."""
    cache: CacheUse | None = None
    """Of features in a bucket."""
    page: Path | None = None
    """Shows all this; None if it could not be written."""

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "metrics": self.metrics,
            "baselines": self.baselines,
            "run": str(self.run),
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "best_epoch": self.best_epoch,
            "predictions": {task: str(path) for task, path in self.predictions.items()},
            "missing_videos": self.missing,
            **fits_json(self.fits),
            "cache": None if self.cache is None else to_mapping(self.cache),
            "page": None if self.page is None else str(self.page),
        }

    def text(self) -> str:
        """Return the score table and where everything lies."""
        lines = [score_table({"model": self.metrics, **self.baselines}), ""]
        if self.missing:
            lines.append(f"without {len(self.missing)} videos that the store does not hold")
        lines += [one.text() for one in self.fits if one.num_misfits]
        lines += [
            f"best epoch   {self.best_epoch}",
            f"checkpoint   {self.run / BEST}",
            *(f"predictions  {path}" for path in self.predictions.values()),
            f"metrics      {self.run / METRICS}",
        ]
        if self.cache is not None:
            lines.append(f"features     {cache_text(self.cache)}")
        if self.page is not None:
            lines.append(f"page         {self.page}")
        return "\n".join(lines)
