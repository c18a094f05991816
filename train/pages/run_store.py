"""The store that a run was trained on, if it lies where the run found it, seen from here."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache_schema.errors import StoreError
from cache_schema.store import open_store
from cache_schema.stream import Stream
from train.checkpoints.record import Checkpoint

__all__ = ["RunStore", "store_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStore:
    """A store, and the stream in it that a run was trained on."""

    path: Path
    stream: Stream


def store_of(checkpoint: Checkpoint | None) -> RunStore | None:
    """Return the store of a run; None if it has moved, or holds no rows of the run's recipe."""
    if checkpoint is None:
        return None
    with suppress(OSError, StoreError):
        store = open_store(checkpoint.config.features)
        if stream := store.find(checkpoint.recipe):
            return RunStore(path=store.path, stream=stream)
    return None
