"""Predict with one run, or with several that decide together.

Shapes: T rows of a sample, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.special import log_softmax

from cache_schema.errors import CheckpointError
from train.dataset import find_rows
from train.evaluate import Predicted, Predictor
from train.prepare import Trained, load_trained_run
from train.tasks.base import Outputs, Subset, Task
from train.trainer import make_accelerator

__all__ = ["RunsPrediction", "mean_outputs", "predict_runs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsPrediction:
    """What the runs say about a subset."""

    task: Task
    outputs: list[Predicted]
    missing: list[str]
    """Annotated videos that the store lacks."""


def predict_runs(
    runs: Sequence[Path],
    features: Path,
    *,
    subset: Subset,
    stream_name: str,
    annotations: str,
    options: Mapping[str, object],
    allow_missing: int,
    device: str,
) -> RunsPrediction:
    """Predict a subset with the best checkpoint of each run.

    One run's outputs are its logits; of several, the mean of their log-probabilities.

    Raises:
        CheckpointError: if a run is none, or the runs learned different tasks.
    """
    place = make_accelerator(device).device
    trained = [
        load_trained_run(
            run,
            features,
            place,
            stream_name=stream_name,
            annotations=annotations,
            options=options,
        )
        for run in runs
    ]
    task = trained[0].task
    for run, one in zip(runs, trained, strict=True):
        if one.task.name != task.name:
            raise CheckpointError(
                f"{run}: learned {one.task.name}, {runs[0]} learned {task.name}. "
                "Only runs of one task can decide together."
            )
    outputs = []
    for one in trained:
        found = find_rows(task, task.samples(subset), one.stream, allow_missing=allow_missing)
        outputs.append(_predictor(one).predict(found.rows).outputs)
    together = outputs[0]
    if len(outputs) > 1:
        together = [_mean(same) for same in zip(*outputs, strict=True)]
    return RunsPrediction(task=task, outputs=together, missing=found.missing)


def mean_outputs(outputs: Sequence[Outputs]) -> Outputs:
    """Return the mean of the runs' log-probabilities, (T, K) for each head."""
    return {
        name: sum(log_softmax(one[name], axis=1) for one in outputs) / len(outputs)
        for name in outputs[0]
    }


def _mean(same: Sequence[Predicted]) -> Predicted:
    """Average what the runs say about one sample."""
    sample, _, times_T2 = same[0]
    return sample, mean_outputs([outputs for _, outputs, _ in same]), times_T2


def _predictor(trained: Trained) -> Predictor:
    config = trained.checkpoint.config
    return Predictor(
        model=trained.model,
        task=trained.task,
        stream=trained.stream,
        data=config.data,
        # As in training: in bfloat16 the last digits depend on the shape of a batch.
        batch_size=config.optim.micro_batch_size or config.optim.batch_size,
        device=next(trained.model.parameters()).device,
    )
