"""Where a run's numbers go: the terminal, ``metrics.jsonl`` and TensorBoard."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["METRICS", "RunLog", "show_progress"]

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"

logger = logging.getLogger(__name__)


class RunLog:
    """Log of one run, a context manager. Only the main process has one that writes.

    On a terminal a progress bar shows the loss; elsewhere each epoch is a line of the logger.
    """

    def __init__(self, folder: Path, *, first_step: int, num_steps: int, enabled: bool) -> None:
        """Open the log.

        Args:
            folder: Of the run.
            first_step: Steps already done; entries behind it are of a run that was cut off there.
            num_steps: Of the whole run.
            enabled: False writes nothing.
        """
        self._enabled = enabled
        self._path = folder / METRICS
        self._tensorboard: SummaryWriter | None = None
        self._bar = tqdm(
            total=num_steps,
            initial=first_step,
            unit="step",
            disable=not (enabled and sys.stderr.isatty()),
        )
        if enabled:
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

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Log one optimizer step; ``step`` counts the steps done."""
        self._write("train", step, values)
        self._bar.set_postfix(loss=f"{values['loss']:.4f}", refresh=False)
        self._bar.update()

    def epoch(self, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        """Log what was measured at the end of an epoch (from 1)."""
        self._write("epoch", step, {"epoch": epoch, **values})
        if self._enabled:
            text = ", ".join(f"{name} {_short(value)}" for name, value in values.items())
            logger.info("epoch %d, step %d%s", epoch, step, f": {text}" if text else "")

    def _write(self, kind: str, step: int, values: Mapping[str, float | None]) -> None:
        if not self._enabled:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        for name, value in values.items():
            if self._tensorboard is not None and value is not None:
                self._tensorboard.add_scalar(f"{kind}/{name}", value, step)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _keep_until(path: Path, step: int) -> None:
    """Drop the entries of steps that will be done again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # A process killed while writing leaves a last line that is no JSON.
    whole = [line for line in lines if line.endswith("}")]
    kept = [line for line in whole if json.loads(line)["step"] <= step]
    path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


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
