"""One run, or several of one task that decide together: samples -> outputs.

Shapes: R rows of a sample, K classes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from cache_schema.errors import CheckpointError
from cache_schema.stream import Stream
from train.data.batches import Ask
from train.data.samples import Found, find_rows
from train.device import choose_device
from train.predict.predictor import Loss
from train.predict.trained_run import Trained, load_trained_run
from train.task import Sample, SampleOutput, TaskFacts, Window, WindowOutput
from train.tasks import AnyAnswers

__all__ = ["Ensemble", "Outputs", "mean_log_probabilities", "open_runs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """What the runs say about some samples."""

    outputs: Iterable[SampleOutput]
    """Made while they are gone through."""
    found: Found
    """The samples' rows, and the videos that have none."""


@dataclass(frozen=True)
class Ensemble:
    """Runs of one task; of several, outputs are the means of their log-probabilities."""

    runs: Sequence[Trained]

    @property
    def facts(self) -> TaskFacts:
        """Of the task that all have learned."""
        return self.answers.facts

    @property
    def answers(self) -> AnyAnswers:
        """What the head of the task says, as the first run knows it."""
        return self.runs[0].answers

    def outputs(
        self,
        samples: Sequence[Sample],
        streams: Sequence[Stream],
        asked: Sequence[tuple[Ask, Loss | None]],
        *,
        allow_missing: int,
    ) -> Outputs:
        """Predict samples, longest first; samples of one length keep their order.

        Args:
            samples: Of any videos.
            streams: For each run the stream with features of its recipe.
            asked: For each run what its batches hold besides features, and the loss if there are
                annotations.
            allow_missing: Videos that may have no rows.
        """
        found = [
            find_rows(
                samples,
                stream,
                rows_per_token=run.checkpoint.config.data.rows_per_token,
                allow_missing=allow_missing,
                shares_rows=self.facts.shares_rows,
            )
            for run, stream in zip(self.runs, streams, strict=True)
        ]
        for run, own in zip(self.runs, found, strict=True):
            run.model.name_queries(sample for rows in own.rows for sample in rows.samples)
        outputs = [
            run.predictor(stream, *ask).predict(own.rows).outputs
            for run, stream, ask, own in zip(self.runs, streams, asked, found, strict=True)
        ]
        joined = outputs[0] if len(self.runs) == 1 else _together(outputs)
        return Outputs(outputs=joined, found=found[0])


def open_runs(
    runs: Sequence[Path],
    *,
    device: str,
    task_name: str,
    options: Mapping[str, object],
    text_features: str = "",
) -> Ensemble:
    """Read the best checkpoint of each run.

    Args:
        runs: Their folders.
        device: ``auto``, ``cpu`` or ``cuda``.
        task_name: Which of their tasks; may be empty if each has one.
        options: Task options that differ from the runs', such as the decoder.
        text_features: Where the features of queries lie now; empty where the runs found them.

    Raises:
        CheckpointError: if a run is none, they learned different tasks, or the task's outputs are
            not class scores of rows.
    """
    place = choose_device(device)
    trained = [
        load_trained_run(
            run, place, task_name=task_name, options=options, text_features=text_features
        )
        for run in runs
    ]
    first = trained[0]
    for run, one in zip(runs, trained, strict=True):
        if one.name != first.name:
            raise CheckpointError(
                f"{run}: learned {one.name}, {runs[0]} learned {first.name}. "
                "Only runs of one task can decide together."
            )
    if len(runs) > 1 and not first.facts.class_outputs:
        raise CheckpointError(
            f"{len(runs)} runs of {first.name} cannot decide together: its outputs are not class "
            "scores of rows, so they have no mean. Predict with one run."
        )
    return Ensemble(trained)


def mean_log_probabilities(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of the runs' log-probabilities over the classes, the last dimension."""
    mean: NDArray[np.float32] = np.mean([log_softmax(one, axis=-1) for one in outputs], axis=0)
    return mean


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
