"""Where the checkpoints of a run lie, and what they say of it; no tensor is looked at."""

from pathlib import Path

from train.checkpoints.record import Checkpoint

__all__ = [
    "BEST",
    "LAST",
    "RUN",
    "checkpoint_folder",
    "has_checkpoint",
    "place_of",
    "previous_of",
    "read_record",
]

LAST = "checkpoint-last"
BEST = "checkpoint-best"
RUN = "run.json"


def checkpoint_folder(run: Path) -> Path:
    """Return the folder of a run's best checkpoint, else its last one, else the run itself."""
    places = (run / BEST, run / LAST, run)
    return next((place for place in places if has_checkpoint(place)), run)


def has_checkpoint(folder: Path) -> bool:
    """Tell whether a checkpoint can be read at ``folder``."""
    return (folder / RUN).exists() or (previous_of(folder) / RUN).exists()


def read_record(folder: Path) -> Checkpoint:
    """Return the run.json of a checkpoint; its tensors are not looked at.

    Raises:
        CheckpointError: if it is damaged.
        FileNotFoundError: if there is none.
    """
    path = place_of(folder) / RUN
    text = path.read_text(encoding="utf-8")
    return Checkpoint.read(text, where=str(path))


def place_of(folder: Path) -> Path:
    """Return where a checkpoint is: beside its folder, while that is being replaced."""
    is_previous = not folder.exists() and previous_of(folder).exists()
    return previous_of(folder) if is_previous else folder


def previous_of(folder: Path) -> Path:
    """Return where a checkpoint lies while another takes its place."""
    return folder.with_name(f"{folder.name}.previous")
