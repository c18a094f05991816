"""What a finished run has measured and what it cost: report/result.json in the run's folder."""

import json
from collections.abc import Mapping
from pathlib import Path

from cache_schema.cost import ExtractionCost
from cache_schema.errors import CheckpointError
from cache_schema.parsing import parse, record, to_mapping
from cache_schema.writing.durable import make_folders, replaced_file

__all__ = [
    "METRICS",
    "PAGE",
    "REPORT",
    "RESULT",
    "Machine",
    "RowCounts",
    "RunResult",
    "Seconds",
    "read_result",
    "write_result",
]

METRICS = "metrics.jsonl"
"""In the run's folder: every step and every epoch (``train.loop.logs``)."""
REPORT = "report"
PAGE = "report.html"
RESULT = "result.json"
FORMAT_VERSION = 1


@record
class Machine:
    """What the last turn of the run ran on."""

    device: str
    """``cpu``, or the name of the main process's GPU."""
    num_processes: int


@record
class Seconds:
    """Of the last turn; what all turns took for steps and evaluation stands in metrics.jsonl."""

    start_up: float
    """Inputs checked, networks loaded and placed."""
    scoring: float
    """The best checkpoint read back, predicted and scored."""


@record
class RowCounts:
    """Rows of the store, each counted once."""

    read_per_epoch: int
    """By training, and by the evaluation at the end of an epoch."""
    in_stream: int


@record
class RunResult:
    """The content of report/result.json."""

    finished: str
    """ISO 8601, with the time zone."""
    metrics: Mapping[str, float | None]
    """Official scores of the best checkpoint on the validation subset."""
    baselines: Mapping[str, Mapping[str, float | None]]
    main_metrics: Mapping[str, str]
    """Task -> the metric that it is known by."""
    lower_is_better: Mapping[str, tuple[str, ...]]
    """Task -> its metrics that are errors or distances."""
    best_epoch: int | float | None
    missing_videos: tuple[str, ...]
    record_ends: tuple[str, ...]
    """A sentence for each task and kind of times in the annotations that the rows do not bear out:
    records that end behind the rows of their video, videos of another length."""
    seconds: Seconds
    rows: RowCounts
    machine: Machine
    extraction: tuple[ExtractionCost, ...] = ()
    """What the rows of the store had cost; a copy, since the store may move."""
    energy_joules: float | None = None
    """Of the last turn's epochs: all of the machine's processors and the GPU in use, whoever used
    them; None if it is not known."""
    format_version: int = FORMAT_VERSION


def write_result(folder: Path, result: RunResult) -> None:
    """Write it into the folder of its run."""
    make_folders(folder / REPORT)
    text = json.dumps(to_mapping(result), indent=1, ensure_ascii=False) + "\n"
    with replaced_file(folder / REPORT / RESULT) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_result(folder: Path) -> RunResult | None:
    """Return what a run has measured, None if it has not ended or an earlier version wrote it.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = folder / REPORT / RESULT
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return parse(RunResult, text, where=str(path), error=CheckpointError)
