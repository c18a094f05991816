"""Where a run's numbers go: the terminal, ``metrics.jsonl``, TensorBoard, and W&B if asked for."""

import json
import logging
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tqdm import tqdm

from cache_schema.parsing import to_mapping
from cache_schema.writing.durable import replaced_file
from train.checkpoints.result import METRICS
from train.config import TrainConfig
from train.loop.wandb_log import WandbLog

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["RunLog", "show_progress"]

TENSORBOARD = "tensorboard"
SECONDS_BETWEEN_LINES = 30
"""Of a log without a terminal, inside an epoch."""

logger = logging.getLogger(__name__)


class RunLog:
    """Log of one run, a context manager. Only the main process has one that writes.

    On a terminal a progress bar shows the loss; elsewhere, as in the log of a batch job, there is a
    line every half minute. Each epoch is a line of the logger anyway.
    """

    def __init__(
        self,
        folder: Path,
        *,
        first_step: int,
        num_steps: int,
        enabled: bool,
        config: TrainConfig | None = None,
        shown: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the log.

        Args:
            folder: Of the run.
            first_step: Steps already done; entries behind it are of a run that was cut off there.
            num_steps: Of the whole run.
            enabled: False writes nothing.
            config: Of the run; says whether Weights & Biases gets the numbers too.
            shown: Names of an epoch's numbers that its line tells, since some tasks have dozens;
                all are written.
            clock: Seconds that pass.

        Raises:
            ConfigError: if Weights & Biases is asked for and not installed.
        """
        self._enabled = enabled
        self._shown = shown
        self._path = folder / METRICS
        self._tensorboard: SummaryWriter | None = None
        self._wandb: WandbLog | None = None
        has_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=num_steps,
            initial=first_step,
            unit="step",
            disable=not (enabled and has_terminal),
        )
        self._pace = (
            Pace(clock=clock, num_steps=num_steps, start=clock(), first_step=first_step)
            if enabled and not has_terminal
            else None
        )
        if enabled:
            folder.mkdir(parents=True, exist_ok=True)
            if config is not None and config.logging.wandb_project:
                self._wandb = WandbLog(folder, config.logging.wandb_project, to_mapping(config))
            _keep_until(self._path, first_step)
            self._tensorboard = _tensorboard(folder / TENSORBOARD, first_step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._wandb is not None:
            self._wandb.close(failed=kind is not None)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log one optimizer step; ``step`` counts the steps done."""
        self._write("train", step, values)
        self._bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        self._bar.update()
        if self._pace is not None and (line := self._pace.line(step, values)):
            logger.info("%s", line)

    def epoch(
        self,
        step: int,
        epoch: int | float,
        values: Mapping[str, float | None],
        cost: Mapping[str, float],
    ) -> None:
        """Log the end of an epoch (from 1), or what was measured within one.

        Args:
            step: Steps done.
            epoch: Epochs done; no whole number within one.
            values: Losses and scores by name.
            cost: Of the run so far by name; written, not shown.
        """
        kind = "epoch" if epoch == int(epoch) else "evaluation"
        self._write(kind, step, {"epoch": epoch, **values, **cost})
        if self._enabled:
            told = {name: value for name, value in values.items() if name in self._shown}
            text = ", ".join(f"{name} {_short(value)}" for name, value in told.items())
            logger.info("epoch %.4g, step %d%s", epoch, step, f": {text}" if text else "")

    def _write(self, kind: str, step: int, values: Mapping[str, float | None]) -> None:
        if not self._enabled:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in values.items():
            if self._tensorboard is not None and value is not None:
                self._tensorboard.add_scalar(f"{kind}/{name}", value, step)
        if self._wandb is not None:
            self._wandb.write(kind, step, values)


@dataclass(kw_only=True, slots=True)
class Pace:
    """How fast steps pass; says so now and then."""

    clock: Callable[[], float]
    num_steps: int
    """Of the whole run."""
    start: float
    """When the first step began."""
    first_step: int
    """Steps done before that."""
    num_rows: float = 0
    """Since the last line."""
    said: float | None = None
    """When the last line was said."""

    def line(self, step: int, values: Mapping[str, float]) -> str:
        """Return a line for a reader, empty if the last one was said only just now."""
        now = self.clock()
        since = self.start if self.said is None else self.said
        self.num_rows += values.get("rows", 0)
        if now - since < SECONDS_BETWEEN_LINES:
            return ""
        seconds_left = (now - self.start) / (step - self.first_step) * (self.num_steps - step)
        rate = self.num_rows / (now - since)
        self.said, self.num_rows = now, 0
        left = timedelta(seconds=round(seconds_left))
        return (
            f"step {step} of {self.num_steps}: loss {values['loss']:.4g}, {rate:.0f} rows/s, "
            f"{left} left"
        )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _keep_until(path: Path, step: int) -> None:
    """Drop the entries of steps that will be done again."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    # A process killed while writing leaves a last line that is no JSON.
    whole = [line for line in lines if line.endswith("}")]
    kept = [line for line in whole if json.loads(line)["step"] <= step]
    with replaced_file(path) as partial:
        partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _tensorboard(folder: Path, first_step: int) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and only needed here

    writer: SummaryWriter = SummaryWriter(str(folder), purge_step=first_step + 1)
    return writer


def show_progress(enabled: bool) -> None:
    """Send this package's log lines to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    package = logging.getLogger("train")
    package.handlers = [handler] if enabled else []
    package.setLevel(logging.INFO)
    package.propagate = not enabled
