"""What extractions cost: one JSON line for each run, in a file beside the store."""

import logging
from collections.abc import Mapping

from cache_schema.errors import StoreError
from cache_schema.parsing import parse, record, to_json
from cache_schema.place import Address, Place
from cache_schema.shared_lines import append_lines, read_lines
from cache_schema.store import beside_store

__all__ = ["ExtractionCost", "append_cost", "costs_path", "read_costs"]

_log = logging.getLogger(__name__)


@record
class ExtractionCost:
    """What one run of ``vllm-extract`` brought into a store, and what that took."""

    time: str
    """When the run ended, UTC, ISO 8601."""
    streams: tuple[str, ...]
    """The streams it filled."""
    num_videos: int
    """Videos that it finished."""
    num_rows: int
    video_seconds: float
    """Of the videos that it finished; several streams share one decode."""
    wall_seconds: float
    """Without planning and loading networks."""
    busy_seconds: Mapping[str, float]
    """Stage -> seconds its thread was at work; stages overlap, and workers are summed up."""
    num_workers: int
    """Processes that encoded at a time, at most."""
    device: str
    """``cpu``, the name of the GPU, or several of them with commas between."""
    energy_joules: float | None
    """Of the processors and the GPUs in use, whoever used them; None if it is not known."""


def costs_path(store: Place) -> Place:
    """Return where a store's costs lie."""
    return beside_store(store, ".extractions.jsonl")


def append_cost(store: Place, cost: ExtractionCost) -> None:
    """Add what a run cost, behind what others have added.

    Raises:
        StoreError: if the file cannot be written.
    """
    append_lines(costs_path(store), [to_json(cost)])


def read_costs(store: Place) -> list[ExtractionCost]:
    """Return what the runs cost, oldest first; lines that are no cost are passed over.

    So is all of it where it cannot be read: who may read a store may not always read beside it.
    """
    if isinstance(store, Address) and store.is_hub:
        return []  # only the store is shared, not what lies beside it
    costs, path = [], costs_path(store)
    try:
        lines = read_lines(path)
    except StoreError as error:
        _log.warning("costs are not known: %s", error)
        return []
    for number, line in enumerate(lines, start=1):
        try:
            costs += [parse(ExtractionCost, line, where=f"{path}: line {number}", error=StoreError)]
        except StoreError as error:
            if line:
                _log.debug("passed over: %s", error)
    return costs
