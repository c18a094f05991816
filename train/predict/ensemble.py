"""Predict with one run, or with several that decide together.

Shapes: R rows of a sample, K classes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from cache_schema.errors import CheckpointError
from train.data.samples import find_rows
from train.device import choose_device
from train.predict.trained_run import load_trained_run
from train.task import SampleOutput, Subset, Window, WindowOutput
from train.tasks import AnyTask

__all__ = ["RunsPrediction", "mean_log_probabilities", "predict_runs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsPrediction:
    """What the runs say about a subset."""

    task: AnyTask
    outputs: Iterable[SampleOutput]
    """Made while they are gone through."""
    num_samples: int
    missing: list[str]
    """Annotated videos that the store lacks."""


def predict_runs(
    runs: Sequence[Path],
    features: Path,
    *,
    subset: Subset,
    stream_name: str,
    task_name: str,
    annotations: str,
    options: Mapping[str, object],
    allow_missing: int,
    device: str,
) -> RunsPrediction:
    """Predict a subset with the best checkpoint of each run.

    One run's outputs are its logits; of several, the mean of their log-probabilities.

    Raises:
        CheckpointError: if a run is none, the runs learned different tasks, or the task's outputs
            are not class scores of rows.
    """
    place = choose_device(device)
    trained = [load_trained_run(run, place, task_name=task_name, options=options) for run in runs]
    tasks = [one.task(annotations) for one in trained]
    _check_together(runs, tasks)
    samples = tasks[0].samples(subset)
    streams = [one.stream(features, stream_name) for one in trained]
    found = [
        find_rows(
            samples,
            stream,
            rows_per_token=one.checkpoint.config.data.rows_per_token,
            allow_missing=allow_missing,
        )
        for one, stream in zip(trained, streams, strict=True)
    ]
    outputs = [
        one.predictor(stream, task.targets, task.loss).predict(rows.rows).outputs
        for one, stream, task, rows in zip(trained, streams, tasks, found, strict=True)
    ]
    return RunsPrediction(
        task=tasks[0],
        outputs=outputs[0] if len(runs) == 1 else _together(outputs),
        num_samples=len(found[0].rows),
        missing=found[0].missing,
    )


def mean_log_probabilities(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of the runs' log-probabilities over the classes, the last dimension."""
    mean: NDArray[np.float32] = np.mean([log_softmax(one, axis=-1) for one in outputs], axis=0)
    return mean


def _check_together(runs: Sequence[Path], tasks: Sequence[AnyTask]) -> None:
    first = tasks[0].facts
    for run, task in zip(runs, tasks, strict=True):
        if task.facts.name != first.name:
            raise CheckpointError(
                f"{run}: learned {task.facts.name}, {runs[0]} learned {first.name}. "
                "Only runs of one task can decide together."
            )
    if len(runs) > 1 and not first.class_outputs:
        raise CheckpointError(
            f"{len(runs)} runs of {first.name} cannot decide together: its outputs are not class "
            "scores of rows, so they have no mean. Predict with one run."
        )


def _together(outputs: Sequence[Iterable[SampleOutput]]) -> Iterator[SampleOutput]:
    """Average what the runs say, sample by sample; each cut its windows in its own way."""
    for same in zip(*outputs, strict=True):
        first = same[0]
        arrays = {
            name: mean_log_probabilities([one.rows(name) for one in same])
            for name in first.windows[0].arrays
        }
        whole = Window(sample=0, start=0, stop=len(first.times_R2))
        yield SampleOutput(
            sample=first.sample,
            times_R2=first.times_R2,
            windows=[WindowOutput(window=whole, arrays=arrays)],
        )
