"""How good a run is: its tasks predicted, written as submissions and scored."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from train.data.samples import SampleRows
from train.predict.predictor import Predictor, Scores, write_and_score
from train.prepare import Prepared, TaskData
from train.task import SampleOutput, TaskFacts
from train.tasks import AnyTask

__all__ = [
    "PREDICTIONS",
    "EpochResult",
    "Judges",
    "Validation",
    "Watch",
    "joined",
    "judged_part",
    "main_metrics",
    "submission_path",
]

PREDICTIONS = "predictions"

MAX_JUDGED_ROWS = 20_000
"""About so many held-out rows are judged by what is said about them; more take minutes."""

One = TypeVar("One")

Watch = Callable[[AnyTask, Iterable[SampleOutput]], Iterable[SampleOutput]]
"""Looks at a task's outputs and passes them on, as they are made."""


@runtime_checkable
class Judges(Protocol):
    """Answers that can tell how good they are on labelled samples of any subset.

    And that can choose, after the last step, how outputs become what they say.
    """

    def worth(self, outputs: Sequence[SampleOutput]) -> float:
        """Return how good what they say is, at best 1."""

    @property
    def settles(self) -> bool:
        """Whether the options leave something to choose."""

    def settle(self, outputs: Sequence[SampleOutput]) -> str:
        """Choose by labelled samples; the choice becomes part of ``Answers.knowledge``.

        Args:
            outputs: What the trained model says of some that picked its best epoch.

        Returns:
            What was chosen, for the log.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """What was measured at the end of an epoch."""

    value: float | None
    """What picks the best epoch, larger is better; of several tasks the mean."""
    scores: Scores
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Evaluates the model of a run, on all processes together."""

    run: Prepared
    accelerator: Accelerator
    folder: Path
    together: bool = False
    """Whether a call of the model needs all processes."""

    def epoch(self) -> EpochResult:
        """Evaluate on held-out training videos, else on ``val`` by the metrics."""
        values: list[float | None] = []
        scores: dict[str, Scores] = {}
        losses = []
        for data in self.run.tasks:
            if data.holdout:
                value: float | None
                value, loss = self._of_holdout(data)
            else:
                scores[data.task.facts.name], loss = self._score(*data.watched, "last")
                value = data.task.quality(scores[data.task.facts.name])
            values.append(value)
            losses.append(loss)
        defined = [value for value in values if value is not None]
        return EpochResult(
            value=sum(defined) / len(defined) if defined else None,
            scores=joined(scores),
            loss=sum(losses) / len(losses),
        )

    def scores(self, name: str, watch: Watch | None = None) -> Scores:
        """Return the official scores on ``val``.

        Args:
            name: Submissions go to ``predictions/<name>``.
            watch: Looks at the outputs that are scored, on the main process.
        """
        return joined(
            {
                data.task.facts.name: self._score(data.task, data.val, name, watch)[0]
                for data in self.run.tasks
            }
        )

    def _of_holdout(self, data: TaskData) -> tuple[float, float]:
        """Return what picks the best epoch, and the loss.

        That is the loss, but for a task by itself that can tell how good its answers are: the epoch
        of least loss finds segments worse than later ones (docs/decisions/0023).
        """
        answers = data.task.answers
        predictions = self.predictor(data.task).predict(_by_query(data.holdout))
        if len(self.run.tasks) > 1 or not isinstance(answers, Judges):
            deque(predictions.outputs, maxlen=0)  # they are made while they are gone through
            return -predictions.loss, predictions.loss
        outputs = list(predictions.outputs)
        judged = judged_part(outputs, sum(len(output.times_R2) for output in outputs))
        worth = answers.worth(judged) if self.accelerator.is_main_process else 0.0
        (known,) = broadcast_object_list([worth])
        return known, predictions.loss

    def _score(
        self, task: AnyTask, val: Sequence[SampleRows], name: str, watch: Watch | None = None
    ) -> tuple[Scores, float]:
        """Write and score the submission on the main process; all get the scores."""
        predictions = self.predictor(task).predict(_by_query(val))
        scores: Scores = {}
        if self.accelerator.is_main_process:
            path = submission_path(self.folder, name, task.facts)
            outputs = predictions.outputs
            if watch is not None:
                outputs = watch(task, outputs)
            scores = write_and_score(task, outputs, path)
        deque(predictions.outputs, maxlen=0)  # the other processes predict for the main one
        (known,) = broadcast_object_list([scores])
        return known, predictions.loss

    def predictor(self, task: AnyTask) -> Predictor:
        """Return what predicts one of the tasks."""
        return Predictor(
            model=self.run.model,
            name=task.facts.name,
            ask=task.targets,
            loss=task.loss,
            stream=self.run.stream,
            data=self.run.config.data,
            batch_size=self.run.config.optim.evaluation_batch,
            device=self.accelerator.device,
            rank=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
            together=self.together,
        )


def main_metrics(tasks: Iterable[AnyTask]) -> set[str]:
    """Return what the tasks' main metrics may be called in ``joined`` scores."""
    return {
        name
        for task in tasks
        for name in (task.main_metric, f"{task.facts.name}/{task.main_metric}")
    }


def submission_path(run: Path, name: str, facts: TaskFacts) -> Path:
    """Return where a run's submission of a task is: a file, or a folder where the task writes one.

    Args:
        run: Folder of the run.
        name: ``val``, the best checkpoint's; ``last``, that of the last evaluation.
        facts: Of the task.
    """
    return run / PREDICTIONS / name / f"{facts.name}{facts.submission}"


def judged_part(samples: list[One], num_rows: int) -> list[One]:
    """Return evenly chosen ones of samples that have so many rows together."""
    return samples[:: 1 + num_rows // MAX_JUDGED_ROWS]


def joined(scores: Mapping[str, Scores]) -> Scores:
    """Return the scores of one task as they are, those of several as ``<task>/<metric>``."""
    if len(scores) == 1:
        return next(iter(scores.values()))
    return {f"{task}/{key}": value for task, own in scores.items() for key, value in own.items()}


def _by_query(samples: Sequence[SampleRows]) -> list[SampleRows]:
    """Put long queries first: samples of one length keep this order, so batches are padded less."""
    return sorted(samples, key=lambda rows: -rows.query_words)
