"""What vllm-train leaves for its readers at the end: report/result.json and the page of the run."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from accelerate import Accelerator

from cache_schema.cost import read_costs
from cache_schema.place import to_place
from train.checkpoints.result import (
    Machine,
    RowCounts,
    RunResult,
    Seconds,
    write_result,
)
from train.data.samples import SampleRows, count_stored_rows
from train.device import device_name
from train.finished_run import FinishedRun
from train.loop.validation import Watch
from train.pages.kept_views import kept
from train.pages.run_store import costs_of
from train.pages.view_file import views_path
from train.predict.predictor import Scores
from train.prepare import Prepared
from train.task import SampleOutput
from train.tasks import AnyTask

__all__ = ["TurnCost", "leave_report", "watch_outputs"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnCost:
    """What one turn of training cost, beside what metrics.jsonl tells."""

    seconds: Seconds
    energy_joules: float | None
    """Of all its epochs."""


def watch_outputs(run: Path) -> Watch:
    """Return what keeps, beside the scores, what the page shows of each validation video."""

    def watch(task: AnyTask, outputs: Iterable[SampleOutput]) -> Iterator[SampleOutput]:
        return kept(task, outputs, views_path(run, task.facts.name))

    return watch


def leave_report(
    trained: FinishedRun, prepared: Prepared, accelerator: Accelerator, cost: TurnCost
) -> Path | None:
    """Write what was measured and the page that shows it, and return where the page lies.

    Nothing that goes wrong here makes a finished training a failure: None after a warning.

    Args:
        trained: What the run says at its end.
        prepared: What it was trained on.
        accelerator: The main process's.
        cost: Of this turn, as far as metrics.jsonl does not know it.
    """
    try:
        write_result(trained.run, _result(trained, prepared, accelerator, cost))
        from train.pages.run_page import leave_page  # loads the library of plots

        return leave_page(trained.run)
    except Exception as error:  # hours of training must not end as a failure for a page's sake
        logger.warning(
            "warning: %s: no report was written (%s: %s). The run itself is complete; "
            "vllm-report %s tries again.",
            trained.run,
            type(error).__name__,
            error,
            trained.run,
        )
        return None


def _result(
    trained: FinishedRun, prepared: Prepared, accelerator: Accelerator, cost: TurnCost
) -> RunResult:
    config, stream = prepared.config, prepared.stream
    costs = read_costs(to_place(config.features))
    return RunResult(
        finished=datetime.now().astimezone().isoformat(timespec="seconds"),
        metrics=trained.metrics,
        baselines=trained.baselines,
        main_metrics={one.task.facts.name: one.task.main_metric for one in prepared.tasks},
        lower_is_better=_lower_is_better(prepared, trained.metrics),
        best_epoch=trained.best_epoch,
        missing_videos=tuple(trained.missing),
        record_ends=tuple(one.text() for one in trained.fits if one.num_misfits),
        seconds=cost.seconds,
        energy_joules=cost.energy_joules,
        rows=RowCounts(
            read_per_epoch=count_stored_rows(_read_per_epoch(prepared)), in_stream=stream.num_rows
        ),
        machine=Machine(
            device=device_name(accelerator.device), num_processes=accelerator.num_processes
        ),
        extraction=costs_of(stream, costs),
        cache=trained.cache,
    )


def _lower_is_better(prepared: Prepared, metrics: Scores) -> dict[str, tuple[str, ...]]:
    """Return task -> its metrics that are errors or distances."""
    several = len(prepared.tasks) > 1
    made = {}
    for data in prepared.tasks:
        prefix = f"{data.task.facts.name}/" if several else ""
        own = [key.removeprefix(prefix) for key in metrics if key.startswith(prefix)]
        made[data.task.facts.name] = tuple(key for key in own if data.task.lower_is_better(key))
    return made


def _read_per_epoch(prepared: Prepared) -> list[SampleRows]:
    selection = prepared.config.data.selection
    return [
        rows
        for data in prepared.tasks
        for part in (data.train, data.holdout, data.watched[1] if selection == "val" else [])
        for rows in part
    ]
