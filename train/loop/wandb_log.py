"""A run's numbers on Weights & Biases, for those who have installed ``wandb`` and ask for it."""

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache_schema.errors import ConfigError

__all__ = ["WANDB_ID", "WandbLog"]

WANDB_ID = "wandb-id.txt"
"""File of a run's folder with its id on Weights & Biases, so that resuming goes on with it."""


class WandbLog:
    """One run there; the same numbers under the same names as in TensorBoard."""

    def __init__(self, folder: Path, project: str, settings: Mapping[str, object]) -> None:
        """Open the run of this folder, or go on with it.

        Args:
            folder: Of the run.
            project: Its project there.
            settings: What to show beside the curves.

        Raises:
            ConfigError: if ``wandb`` is not installed.
        """
        try:
            wandb: Any = importlib.import_module("wandb")
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"logging.wandb_project is '{project}', but Weights & Biases is not installed. "
                "Install it with 'pip install wandb', or leave the setting empty."
            ) from error
        self._run: Any = wandb.init(
            project=project,
            name="/".join(folder.parts[-2:]),  # the number of a run alone says nothing
            id=_run_id(folder / WANDB_ID),
            resume="allow",
            dir=str(folder),
            config=dict(settings),
        )

    def write(self, kind: str, step: int, values: Mapping[str, float | None]) -> None:
        """Log the numbers of one step or epoch."""
        known = {f"{kind}/{name}": value for name, value in values.items() if value is not None}
        self._run.log(known, step=step)

    def close(self, *, failed: bool) -> None:
        """Send what is left, and say how it ended."""
        self._run.finish(exit_code=int(failed))


def _run_id(path: Path) -> str:
    if not path.exists():
        path.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
