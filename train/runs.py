"""Which folder a run lies in.

    runs/<task>/1, 2, ...   numbered, each made for one run
    runs/<task>/latest      no folder: where a run is asked for, the newest one with a checkpoint
    --out FOLDER            exactly there

A number is given once: ``mkdir`` lets one process alone make a folder, and what failed before its
first checkpoint keeps its own. Nothing points at the newest run that could be out of date.
"""

import logging
from pathlib import Path

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.place import is_address, to_place
from train.checkpoints.folder import BEST, LAST, has_checkpoint
from train.config import TrainConfig, runs_folder

__all__ = ["chosen_run", "is_run", "local_run", "new_run", "newest_number", "planned_folder"]

LATEST = "latest"

logger = logging.getLogger(__name__)


def new_run(runs: Path) -> int:
    """Make the folder of a new run below ``runs`` and return its number."""
    runs.mkdir(parents=True, exist_ok=True)
    number = newest_number(runs) + 1
    while True:
        try:
            (runs / str(number)).mkdir()
        except FileExistsError:  # another run was started at the same instant
            number += 1
        else:
            return number


def newest_number(runs: Path) -> int:
    """Return the highest number below ``runs``, 0 if there is none."""
    return max(_numbers(runs), default=0)


def planned_folder(config: TrainConfig, *, resume: bool) -> Path:
    """Return where a run would lie if it were started now; nothing is made."""
    if config.out:
        return Path(config.out)
    runs = runs_folder(config)
    newest = newest_number(runs)
    return runs / str(newest if resume and newest else newest + 1)


def local_run(place: str | Path) -> Path:
    """Return the folder of the run that a place means; one of a hub is downloaded into its cache.

    Args:
        place: ``hf://user/name``, or a path as ``chosen_run`` takes it.

    Raises:
        CheckpointError: see ``chosen_run``.
        ConfigError: if it is an address of another kind.
        HubError: if a hub does not give it.
    """
    where = to_place(place)
    if isinstance(where, Path):
        return chosen_run(where)
    if not where.is_hub:
        raise ConfigError(f"{where}: runs lie in folders or on a hub (hf://USER/NAME).")
    from cache_schema.hub.address import hub_address
    from cache_schema.hub.snapshot import hub_snapshot

    folder = hub_snapshot(hub_address(where, "model"))
    logger.info("%s lies in %s", where, folder)
    return folder


def chosen_run(path: Path) -> Path:
    """Return the run that a path means: itself, or the newest one of a folder of runs.

    Raises:
        CheckpointError: if it is a file, or a folder that has runs, but none with a number.
    """
    if path.is_file():
        raise CheckpointError(
            f"{path}: is a file, expected the folder of a run, such as runs/action_segmentation."
        )
    if _is_run(path):
        return path
    runs = path.parent if path.name == LATEST else path
    for number in sorted(_numbers(runs), reverse=True):
        if _is_run(runs / str(number)):
            logger.info("%s: run %s, the newest with a checkpoint", path, runs / str(number))
            return runs / str(number)
    if named := sorted(child.name for child in _folders(runs) if _is_run(child)):
        raise CheckpointError(
            f"{path}: no numbered run here has a checkpoint, but these have one: "
            f"{', '.join(named)}. Name the run, such as {runs / named[0]}."
        )
    return path


def is_run(place: str) -> bool:
    """Tell whether a place is a run, a checkpoint, a folder of runs, or on a hub."""
    if is_address(place):
        return place.startswith("hf://")
    path = Path(place)
    return (
        _is_run(path)
        or has_checkpoint(path)
        or any(_is_run(path / str(number)) for number in _numbers(path))
        or (path.name == LATEST and not path.exists())
    )


def _numbers(runs: Path) -> list[int]:
    names = [child.name for child in _folders(runs)]
    return [int(name) for name in names if name.isascii() and name.isdigit() and name[0] != "0"]


def _folders(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.is_dir()] if path.is_dir() else []


def _is_run(path: Path) -> bool:
    return has_checkpoint(path / BEST) or has_checkpoint(path / LAST)
