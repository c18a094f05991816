"""From a model and samples to outputs of every row, and from those to official scores.

SampleRows -> windows -> logits -> stitched Outputs per sample -> submission file -> scores.

Shapes: B batch, T rows of a window, R rows of a sample, K classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.stream import Stream
from train.config import DataConfig
from train.dataset import Batch, BatchReader, SampleRows
from train.model import VideoLLM
from train.prefetch import Prefetch
from train.tasks.base import Outputs, Sample, Task
from train.windows import evaluation_windows, split

__all__ = ["Predicted", "Prediction", "Predictor", "Scores", "score_table", "write_and_score"]

Predicted = tuple[Sample, Outputs, NDArray[np.float64]]
"""A sample, head name -> (R, K) scores of its rows, and the rows' (R, 2) times."""

Scores = dict[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says about some samples."""

    outputs: list[Predicted]
    """One per sample, in their order."""
    loss: float
    """Mean over the valid targets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictor:
    """Predict every row of some samples once, each with its past."""

    model: VideoLLM
    task: Task
    stream: Stream
    data: DataConfig
    batch_size: int
    """Windows per forward pass."""
    device: torch.device
    rank: int = 0
    num_processes: int = 1

    def predict(self, samples: Sequence[SampleRows]) -> Prediction:
        """Return the outputs of all samples on every process; each predicts its share."""
        self.model.eval()
        own = range(self.rank, len(samples), self.num_processes)
        outputs: list[Outputs] = [{} for _ in own]
        total, num_targets = 0.0, 0
        for batch in self._batches([samples[index] for index in own]):
            with torch.inference_mode():
                logits = self.model(batch.features_BTD, batch.valid_BT, self.task.name)
                loss = self.task.loss(logits, batch.targets)
            _stitch(outputs, batch, logits)
            total += float(loss.total)
            num_targets += loss.num_targets
        gathered = dict(gather_object(list(zip(own, outputs, strict=True))))
        sums = np.array(gather_object([(total, num_targets)])).sum(axis=0)
        return Prediction(
            outputs=[
                (rows.sample, gathered[index], rows.times_R2) for index, rows in enumerate(samples)
            ],
            loss=float(sums[0] / max(1, sums[1])),
        )

    def _batches(self, samples: Sequence[SampleRows]) -> Iterator[Batch]:
        lengths = [rows.num_rows for rows in samples]
        windows = evaluation_windows(lengths, self.data.window_rows, self.data.context_rows)
        reader = BatchReader(self.stream, samples, self.device)
        batches = (reader.read(part) for part in split(windows, self.batch_size))
        with Prefetch(batches) as prefetched:
            yield from prefetched


def _stitch(outputs: Sequence[Outputs], batch: Batch, logits: Mapping[str, Tensor]) -> None:
    """Put each window's new rows where they belong in their sample's output."""
    for name, values_BTK in logits.items():
        arrays = values_BTK.float().cpu().numpy()
        for values_TK, rows, window in zip(arrays, batch.samples, batch.windows, strict=True):
            output = outputs[window.sample]
            if name not in output:
                output[name] = np.empty((rows.num_rows, values_TK.shape[1]), np.float32)
            new = slice(window.num_context, window.num_rows)
            output[name][window.start + window.num_context : window.stop] = values_TK[new]


def write_and_score(task: Task, outputs: Sequence[Predicted], path: Path) -> Scores:
    """Write the official submission and score that very file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    task.write_predictions(outputs, path)
    return task.score(path)


def score_table(columns: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return an aligned table: one line per metric, one column per model.

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
