"""What one call of ``vllm-train`` does, from settings to a report.

A run is continued only with its settings.
"""

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from accelerate import Accelerator

from cache_schema.energy import EnergyMeter
from cache_schema.errors import CheckpointError
from cache_schema.parsing import differences
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import LAST, has_checkpoint
from train.checkpoints.record import Checkpoint
from train.checkpoints.result import Seconds
from train.config import PLACES, TrainConfig
from train.data.fit import Fit
from train.device import gpu_uuids
from train.feature_cache import cache_use
from train.finished_run import FinishedRun
from train.loop.logs import show_progress
from train.loop.parallel import main_process_first, make_accelerator
from train.loop.settling import settle
from train.loop.trainer import Trainer
from train.loop.validation import PREDICTIONS, joined, submission_path
from train.predict.predictor import Scores
from train.prepare import Prepared, prepare
from train.report import TurnCost, leave_report, watch_outputs
from train.run_folder import begun_folder, new_folder
from train.tasks import all_options

__all__ = ["Report", "train"]

logger = logging.getLogger(__name__)


class Report(Protocol):
    """What a command has to say."""

    def to_json(self) -> dict[str, object]:
        """Return it as plain values."""

    def text(self) -> str:
        """Return it for a reader."""


def train(config: TrainConfig, *, resume: bool) -> FinishedRun | None:
    """Train, evaluate and write a run.

    Args:
        config: Settings with all inputs.
        resume: Go on from the last checkpoint if there is one, without a folder with the newest
            of the numbered runs.

    Returns:
        The report; None on processes other than the main one.

    Raises:
        PipelineError: if an input, the run's folder or a step is wrong.
    """
    started = time.perf_counter()
    config = _with_all_options(config)
    accelerator = make_accelerator(config.device, several_tasks=len(config.task) > 1)
    show_progress(accelerator.is_main_process)
    with ExitStack() as held:
        begun = begun_folder(config, accelerator, held) if resume else None
        resumed = _resumed(config, begun) if begun else None
        prepared = _prepare(config, accelerator, resumed)
        if accelerator.is_main_process:
            _warn_of(prepared.fits)
        folder = begun or new_folder(config, accelerator, held)
        return _trained(prepared, accelerator, folder, goes_on=resumed is not None, since=started)


def _trained(
    prepared: Prepared, accelerator: Accelerator, folder: Path, *, goes_on: bool, since: float
) -> FinishedRun | None:
    """Do what is left of a run in its folder.

    Args:
        prepared: What to train on what.
        accelerator: This process and its fellows.
        folder: Of the run, held by the main process.
        goes_on: From the last checkpoint there.
        since: Instant at which this call began, of ``time.perf_counter``.
    """
    trainer = Trainer(prepared, accelerator, folder)
    if goes_on:
        trainer.restore()
    _say_start(folder, trainer.progress.step)
    start_up = time.perf_counter() - since
    with EnergyMeter(_gpus(accelerator)) as meter:
        trainer.train()
        settle(trainer)
    scoring_started = time.perf_counter()
    metrics = trainer.score_best(watch_outputs(folder))
    scoring = time.perf_counter() - scoring_started
    if not accelerator.is_main_process:
        return None
    trained = FinishedRun(
        metrics=metrics,
        baselines=_baselines(prepared, folder),
        run=folder,
        steps=trainer.progress.step,
        seconds=time.perf_counter() - since,
        best_epoch=trainer.progress.best_epoch,
        predictions=_submissions(prepared, folder),
        missing=prepared.missing,
        fits=prepared.fits,
        cache=None if prepared.cache is None else cache_use(prepared.cache),
    )
    cost = TurnCost(seconds=Seconds(start_up=start_up, scoring=scoring), energy_joules=meter.joules)
    return replace(trained, page=leave_report(trained, prepared, accelerator, cost))


def _gpus(accelerator: Accelerator) -> list[str] | None:
    """Return the GPUs in use by their names in NVML; None where other processes use some too."""
    return gpu_uuids(accelerator.device) if accelerator.num_processes == 1 else None


def _submissions(prepared: Prepared, folder: Path) -> dict[str, Path]:
    """Return task -> the best checkpoint's submission."""
    facts = [data.task.facts for data in prepared.tasks]
    return {one.name: submission_path(folder, "val", one) for one in facts}


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


def _with_all_options(config: TrainConfig) -> TrainConfig:
    """Name every option of the tasks, so that a later version's defaults change no trained run."""
    tasks = {name: all_options(name, config.tasks.get(name, {})) for name in config.task}
    return replace(config, tasks=tasks)


def _resumed(config: TrainConfig, folder: Path) -> Checkpoint | None:
    """Return the checkpoint to go on from, after checking that this is the same run."""
    if not has_checkpoint(folder / LAST):
        return None
    checkpoint, _ = read_checkpoint(folder / LAST)
    saved = _with_all_options(checkpoint.config)  # which earlier versions did not write down
    if fields := differences(saved, config, ignore=PLACES):
        raise CheckpointError(
            f"{folder}: the run was started with other settings: {'; '.join(fields)}. Resume with "
            "the same, or start another run: without --resume, or with another --out."
        )
    return checkpoint


def _warn_of(fits: list[Fit]) -> None:
    for one in fits:
        if one.num_misfits:
            logger.warning("warning: %s. %s", one.text(), one.words.if_few)


def _say_start(folder: Path, step: int) -> None:
    logger.info("%s: %s", folder, f"goes on after step {step}" if step else "starts")
