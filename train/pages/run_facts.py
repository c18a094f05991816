"""Everything a page says of a run, read from its folder; the run may be going on, killed or old."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cache_schema.cost import ExtractionCost, read_costs
from cache_schema.errors import CheckpointError, ConfigError
from train.checkpoints.folder import BEST, LAST, read_record
from train.checkpoints.record import Checkpoint, Progress
from train.checkpoints.result import METRICS, RunResult, read_result
from train.pages.metrics_log import MetricsLog, read_metrics
from train.pages.run_store import costs_of, store_of
from train.runs import local_run

__all__ = ["RunFacts", "read_runs"]

Scores = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """One run."""

    name: str
    """The end of its path that tells it from the others."""
    folder: Path
    changed: datetime
    """When it ended, or wrote its last number."""
    checkpoint: Checkpoint | None
    """run.json of the last checkpoint; None before the first one."""
    log: MetricsLog
    result: RunResult | None
    """None if it has not ended, or an earlier version has trained it."""
    extraction: tuple[ExtractionCost, ...]
    """What the rows of its stream had cost; empty if nobody knows."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks; none before the first checkpoint."""
        return self.checkpoint.config.task if self.checkpoint else ()

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return self.checkpoint.progress if self.checkpoint else Progress()

    @property
    def best_step(self) -> int | None:
        """Steps done when the best epoch so far ended."""
        entry = self.log.at(self.progress.best_epoch)
        return entry.step if entry else None

    @property
    def scores(self) -> dict[str, Scores]:
        """Task -> its scores by the best checkpoint, while there is no result by its epoch."""
        if self.result is not None:
            return self.by_task(self.result.metrics)
        entry = self.log.at(self.progress.best_epoch)
        return self.by_task(entry.scores if entry else {})

    @property
    def baselines(self) -> dict[str, dict[str, Scores]]:
        """Task -> baseline -> scores."""
        made: dict[str, dict[str, Scores]] = {task: {} for task in self.tasks}
        for name, joined in (self.result.baselines if self.result else {}).items():
            for task, scores in self.by_task(joined).items():
                made[task][name] = scores
        return made

    def by_task(self, joined: Scores) -> dict[str, Scores]:
        """Return task -> scores of what one run calls ``<task>/<metric>`` if it has several."""
        if len(self.tasks) == 1:
            return {self.tasks[0]: joined}
        return {
            task: {
                key.removeprefix(f"{task}/"): value
                for key, value in joined.items()
                if key.startswith(f"{task}/")
            }
            for task in self.tasks
        }

    def main_metric(self, task: str) -> str | None:
        """Return the metric a task is known by, None if that is not known here."""
        if self.result is not None:
            return self.result.main_metrics[task]
        from train.tasks import task_class  # here, for it imports torch

        with suppress(ConfigError):  # of a package that is not installed here
            metric = task_class(task).main_metric
            return metric if isinstance(metric, str) else None  # else it depends on options
        return None

    def lower_is_better(self, task: str, metric: str) -> bool:
        """Tell whether a metric of a task is an error or a distance."""
        if self.result is not None:
            return metric in self.result.lower_is_better.get(task, ())
        from train.tasks import task_class

        with suppress(ConfigError):
            return task_class(task).lower_is_better(metric)
        return False


def read_runs(places: Sequence[str | Path]) -> list[RunFacts]:
    """Read runs; a folder of numbered ones stands for its newest, one named twice counts once.

    Raises:
        CheckpointError: if a path holds no run, or a file of it is damaged.
    """
    folders = list(dict.fromkeys(local_run(place).resolve() for place in places))
    return [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]


def _read(folder: Path, name: str) -> RunFacts:
    checkpoint, log = _checkpoint(folder), read_metrics(folder / METRICS)
    if checkpoint is None and not log.num_steps:
        raise CheckpointError(
            f"{folder}: no run here: neither a checkpoint nor {METRICS}. Give the folder of a run "
            "that vllm-train has written, or wait until it has done its first step."
        )
    result = read_result(folder)
    return RunFacts(
        name=name,
        folder=folder,
        changed=datetime.fromisoformat(result.finished) if result else _last_change(folder),
        checkpoint=checkpoint,
        log=log,
        result=result,
        extraction=result.extraction if result else _extraction(checkpoint),
    )


def _checkpoint(folder: Path) -> Checkpoint | None:
    for name in (LAST, BEST, ""):  # on a hub the best one is all there is
        with suppress(FileNotFoundError):
            return read_record(folder / name)
    return None


def _last_change(folder: Path) -> datetime:
    path = folder / METRICS
    return datetime.fromtimestamp((path if path.exists() else folder).stat().st_mtime).astimezone()


def _extraction(checkpoint: Checkpoint | None) -> tuple[ExtractionCost, ...]:
    store = store_of(checkpoint)
    if store is None:
        return ()
    return costs_of(store.stream, read_costs(store.path))


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that differ; a number needs the folder before it."""
    names: list[str] = []
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = [
            "/".join(folder.parts[-max(depth, 2 if folder.name.isdigit() else 1) :])
            for folder in folders
        ]
        if len(set(names)) == len(names):
            break
    return names
