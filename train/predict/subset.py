"""A subset predicted: the official submission of a run, or of several together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cache_schema.place import Place
from cache_schema.stream import Stream
from train.data.batches import Ask
from train.predict.ensemble import Ensemble
from train.predict.predictor import Loss
from train.task import SampleOutput, Subset
from train.tasks import AnyTask

__all__ = ["SubsetPrediction", "predict_subset"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetPrediction:
    """What the runs say about a subset."""

    task: AnyTask
    stream: Stream
    """Of the first run."""
    outputs: Iterable[SampleOutput]
    """Made while they are gone through."""
    num_samples: int
    missing: list[str]
    """Annotated videos that the store lacks."""


def predict_subset(
    ensemble: Ensemble,
    features: Place,
    *,
    subset: Subset,
    stream_names: Sequence[str],
    annotations: str,
    allow_missing: int,
) -> SubsetPrediction:
    """Predict the samples of a subset; of ``test`` nothing but what is asked is known.

    Args:
        ensemble: One run or several.
        features: Store with features of their recipes.
        subset: Of the annotations.
        stream_names: Stream of the store, or those to join; empty looks for the runs' recipes.
        annotations: Where they lie now; empty takes the runs' own.
        allow_missing: Annotated videos that the store may lack.
    """
    tasks = [run.task(annotations) for run in ensemble.runs]
    streams = [run.stream(features, stream_names) for run in ensemble.runs]
    asked: list[tuple[Ask, Loss | None]] = (
        [(run.answers.inputs, None) for run in ensemble.runs]
        if subset == "test"
        else [(task.targets, task.loss) for task in tasks]
    )
    said = ensemble.outputs(tasks[0].samples(subset), streams, asked, allow_missing=allow_missing)
    return SubsetPrediction(
        task=tasks[0],
        stream=streams[0],
        outputs=said.outputs,
        num_samples=sum(len(rows.samples) for rows in said.found.rows),
        missing=said.found.missing,
    )
