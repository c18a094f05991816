"""From a model and samples to outputs of every window, and from those to official scores.

SampleRows -> windows -> head outputs -> SampleOutput -> submission file -> scores.

Shapes: B batch.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor, distributed

from cache_schema.stream import Stream
from train.config import DataConfig
from train.data.batches import Ask, Batch, BatchReader
from train.data.fetched_ahead import fetched_ahead
from train.data.prefetch import Prefetch
from train.data.samples import SampleRows
from train.data.windows import evaluation_windows, split
from train.model.video_llm import VideoLLM
from train.task import LossSum, SampleOutput, Tensors, Window, WindowOutput
from train.tasks import AnyTask

__all__ = ["Loss", "Predictions", "Predictor", "Scores", "score_table", "write_and_score"]

Scores = dict[str, float | None]

Array = NDArray[Any]

Loss = Callable[[Tensors, Tensors], LossSum]
"""Outputs and targets of a batch -> loss."""


@dataclass(kw_only=True, slots=True)
class LossTotal:
    """A loss that is still being added up."""

    total: float = 0.0
    num_targets: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What a model says about some samples, one by one; to be gone through once.

    Of several processes all must go through it to its end, since they predict side by side.
    """

    outputs: Iterable[SampleOutput]
    """Made while they are gone through; of several processes the main one gets all of them, the
    others none."""
    losses: LossTotal

    @property
    def loss(self) -> float:
        """Mean over the valid targets of the samples that were gone through."""
        return self.losses.total / max(1, self.losses.num_targets)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictor:
    """Predict every row of some samples once, each with its past."""

    model: VideoLLM
    name: str
    """Of the task whose head is asked."""
    ask: Ask
    """What batches hold besides features."""
    loss: Loss | None
    """Of the outputs given what was asked; None where there are no annotations."""
    stream: Stream
    data: DataConfig
    batch_size: int
    """Windows per forward pass."""
    device: torch.device
    rank: int = 0
    num_processes: int = 1
    together: bool = False
    """Whether a call of the model needs all processes, so that all must call it equally often."""

    def predict(self, samples: Sequence[SampleRows]) -> Predictions:
        """Return the outputs of all samples; of several processes each predicts its share.

        Longer samples come first, so that a batch holds windows of about one length; those of one
        length keep their order. Each process holds the outputs of a batch only.
        """
        order = sorted(samples, key=lambda rows: -rows.num_rows)
        losses = LossTotal()
        shares = [order[rank :: self.num_processes] for rank in range(self.num_processes)]
        if self.num_processes > 1:
            return Predictions(outputs=self._gathered(shares, losses), losses=losses)
        own = self._outputs(shares[self.rank], losses)
        return Predictions(outputs=(one for whole in own for one in whole), losses=losses)

    def _gathered(
        self, shares: Sequence[Sequence[SampleRows]], losses: LossTotal
    ) -> Iterator[SampleOutput]:
        """Yield what all processes say, batch by batch, on the main one; sum up the loss of all."""
        own = self._outputs(shares[self.rank], losses)
        counts = [len(self._parts(share)) for share in shares]
        for number in range(max(counts)):
            outputs = next(own, [])
            if self.together and number >= counts[self.rank]:
                self._keep_up(shares[0][-1:])
            yield from _sent_to_main(outputs)
        sums = gather_object([(losses.total, losses.num_targets)])
        losses.total = sum(total for total, _ in sums)
        losses.num_targets = sum(count for _, count in sums)

    def _keep_up(self, sample: Sequence[SampleRows]) -> None:
        """Call the model because the others do; nothing of it counts."""
        reader = BatchReader(self.ask, self.stream, sample, self.device)
        self._forward(reader.read(self._parts(sample)[0][:1]), LossTotal())

    def _outputs(
        self, samples: Sequence[SampleRows], losses: LossTotal
    ) -> Iterator[list[SampleOutput]]:
        """Yield after each batch the outputs of the samples that end in it."""
        self.model.eval()
        parts: list[list[WindowOutput]] = []
        for batch in self._batches(samples):
            arrays = self._forward(batch, losses)
            places = iter(range(len(batch.window_of_Q)))
            whole: list[SampleOutput] = []
            for rows, window in zip(batch.rows, batch.windows, strict=True):
                parts = parts or [[] for _ in rows.samples]
                for windows, place in zip(parts, places, strict=False):
                    own = {name: values[place] for name, values in arrays.items()}
                    windows.append(WindowOutput(window=window, arrays=own))
                if window.stop == rows.num_rows:
                    whole += map(rows.output, rows.samples, parts)
                    parts = []
            yield whole

    def _forward(self, batch: Batch, losses: LossTotal) -> Mapping[str, Array]:
        with torch.inference_mode():
            outputs: dict[str, Tensor] = self.model(
                batch.features_BTD,
                batch.valid_BT,
                self.name,
                batch.queries,
                batch.targets,
                window_of_Q=batch.window_of_Q,
            )
            if self.loss is not None:
                loss = self.loss(outputs, batch.targets)
                losses.total += float(loss.total)
                losses.num_targets += int(loss.num_targets)
        return {name: _array(values) for name, values in outputs.items()}

    def _batches(self, samples: Sequence[SampleRows]) -> Iterator[Batch]:
        reader = BatchReader(self.ask, self.stream, samples, self.device)
        parts = fetched_ahead(self.stream, self._parts(samples), reader.spans)
        batches = (reader.read(part) for part in parts)
        with Prefetch(batches) as prefetched:
            yield from prefetched

    def _parts(self, samples: Sequence[SampleRows]) -> list[Sequence[Window]]:
        lengths = [rows.num_rows for rows in samples]
        windows = evaluation_windows(lengths, self.data.window_rows, self.data.context_rows)
        return split(windows, self.batch_size)


def _sent_to_main(outputs: list[SampleOutput]) -> list[SampleOutput]:
    """Return the outputs of all processes on the main one, nothing on the others."""
    is_main = distributed.get_rank() == 0
    parts: list[Any] | None = [None] * distributed.get_world_size() if is_main else None
    distributed.gather_object(outputs, parts)
    return list(chain.from_iterable(parts or ()))


def _array(values: Tensor) -> Array:
    # Half precision goes to float32: NumPy lacks bfloat16, and official files hold float32.
    array: Array = (values.float() if values.is_floating_point() else values).cpu().numpy()
    return array


def write_and_score(task: AnyTask, outputs: Iterable[SampleOutput], path: Path) -> Scores:
    """Write the official submission and score that very file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    task.write_predictions(outputs, path)
    return task.score(path)


def score_table(columns: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return an aligned table: one line per metric, one column per model.

    Examples:
        >>> print(score_table({"model": {"Acc": 61.25}, "chance": {"Acc": None}}))
        metric  model  chance
        Acc     61.25       -
    """
    metrics = dict.fromkeys(metric for scores in columns.values() for metric in scores)
    lines = [["metric", *columns]]
    for metric in metrics:
        values = [scores.get(metric) for scores in columns.values()]
        lines.append([metric, *map(_cell, values)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def _cell(value: float | None) -> str:
    # Evaluators give percent or fractions; both keep about four digits.
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"
