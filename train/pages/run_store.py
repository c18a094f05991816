"""The store that a run was trained on, if it lies where the run found it, seen from here."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from cache_schema.cost import ExtractionCost
from cache_schema.derived.find import derive_like
from cache_schema.errors import HubError, StoreError
from cache_schema.place import Place
from cache_schema.store import open_store
from cache_schema.stream import Stream
from train.checkpoints.record import Checkpoint

__all__ = ["RunStore", "costs_of", "store_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStore:
    """A store, and the stream in it that a run was trained on."""

    path: Place
    stream: Stream


def store_of(checkpoint: Checkpoint | None) -> RunStore | None:
    """Return the store of a run; None if it has moved, or holds no rows of the run's recipe."""
    if checkpoint is None:
        return None
    with suppress(OSError, StoreError, HubError):
        store = open_store(checkpoint.config.features)
        stored = {one.recipe.fingerprint: one for one in store.streams.values()}
        if all(one.fingerprint in stored for one in checkpoint.recipe.stored):
            stream = derive_like(checkpoint.recipe, lambda recipe: stored[recipe.fingerprint])
            return RunStore(path=store.path, stream=stream)
    return None


def costs_of(stream: Stream, costs: Iterable[ExtractionCost]) -> tuple[ExtractionCost, ...]:
    """Return those of the extractions that made rows of a stream."""
    names = {one.name for one in stream.stored}
    return tuple(cost for cost in costs if names & set(cost.streams))
