"""The folder of a run, taken by one process: who trains in it, and when one may begin there.

Owns the run folder's rules: a run is never overwritten, and two never share a folder. The main
process holds a lock on a file in the folder from the moment it takes it until it ends; the others
neither look nor write before they have heard that it did.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from accelerate import Accelerator

from cache_schema.errors import CheckpointError
from cache_schema.writing.exclusive_lock import take_lock
from train.checkpoints.folder import BEST, LAST, has_checkpoint
from train.checkpoints.result import METRICS
from train.config import TrainConfig, runs_folder
from train.loop.parallel import number_of_main_process
from train.runs import new_run, newest_number

__all__ = ["begun_folder", "new_folder"]

LOCK = "training.lock"
"""There while a process trains, and after one that was killed; which of both, the lock tells."""


def begun_folder(config: TrainConfig, accelerator: Accelerator, held: ExitStack) -> Path | None:
    """Take the folder to go on in.

    Args:
        config: Settings of the run.
        accelerator: This process and its fellows; all must ask.
        held: Gives the folder back when it closes.

    Returns:
        The folder; None if no run has been started.

    Raises:
        CheckpointError: if another process trains there.
    """
    runs, out = runs_folder(config), Path(config.out)

    def take() -> int:
        number = int(out.is_dir()) if config.out else newest_number(runs)
        if number:
            held.enter_context(_held(out if config.out else runs / str(number)))
        return number

    number = number_of_main_process(accelerator, take)
    if not number:
        return None
    return out if config.out else runs / str(number)


def new_folder(config: TrainConfig, accelerator: Accelerator, held: ExitStack) -> Path:
    """Take the folder that was asked for, if it is free, or make the next numbered one.

    Args:
        config: Settings of the run.
        accelerator: This process and its fellows; all must ask.
        held: Gives the folder back when it closes.

    Raises:
        CheckpointError: if another process trains there, or a run lies there.
    """
    runs, out = runs_folder(config), Path(config.out)

    def take() -> int:
        number = 0 if config.out else new_run(runs)
        folder = out if config.out else runs / str(number)
        held.enter_context(_held(folder))
        _refuse_a_run(folder)
        return number

    number = number_of_main_process(accelerator, take)
    return out if config.out else runs / str(number)


def _refuse_a_run(folder: Path) -> None:
    if has_checkpoint(folder / LAST):
        raise CheckpointError(
            f"{folder}: holds a run already. --resume goes on with it, --out starts another one."
        )
    if has_checkpoint(folder / BEST) or (folder / METRICS).exists():
        raise CheckpointError(
            f"{folder}: holds a run already, without a checkpoint to go on from. --resume starts "
            "it again there, another --out starts one elsewhere."
        )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep others from training in a folder, which is made if there is none.

    Raises:
        CheckpointError: if another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not (take_lock(descriptor) and _is_open_at(descriptor, path)):
            raise CheckpointError(
                f"{folder}: another process trains in this folder. Wait until it has ended, or "
                "start another run: with another --out, or without --out and --resume."
            )
        try:
            yield
        finally:
            with suppress(OSError):  # only an empty folder goes: its number is free again
                path.unlink()
                folder.rmdir()
    finally:
        os.close(descriptor)


def _is_open_at(descriptor: int, path: Path) -> bool:
    """Tell whether a file still has its name: who held it before takes the name away."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
