"""A share of the videos for each task of a job array, agreed on without a word.

The split depends on the files' names and sizes alone, not on what is done or running: every task
computes the same one, and a task that runs twice does the same videos twice.
"""

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache_schema.errors import ConfigError
from cache_schema.place import Place
from cache_schema.store import is_hdf5
from extract.sources.videos import VideoFile

__all__ = ["Shard", "parse_shard", "refuse_shards", "shard_of", "shard_of_array"]


@dataclass(frozen=True, slots=True)
class Shard:
    """Share ``index`` of ``count``; the first has index 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Return the shard that ``I/N`` means.

    Raises:
        ConfigError: unless 0 <= I < N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(*map(int, match.groups())) if match else Shard(0, 0)
    if shard.index >= shard.count:
        raise ConfigError(f"--shard {text}: expected I/N with I from 0 to N - 1, such as 0/4.")
    return shard


def shard_of_array(environment: Mapping[str, str]) -> Shard | None:
    """Return the share of the SLURM array task this process runs in; None outside of one.

    Raises:
        ConfigError: if a variable is no number, or the array's task numbers are not evenly spaced.
    """
    task, count = (_array_number(environment, name) for name in ("ID", "COUNT"))
    if task is None or count is None:
        return None
    first = _array_number(environment, "MIN") or 0
    step = _array_number(environment, "STEP") or 1
    index, rest = divmod(task - first, step)
    if rest or not 0 <= index < count:
        raise ConfigError(
            f"task {task} of a job array with {count} tasks from {first} in steps of {step}: "
            "its share cannot be told. Number the tasks evenly, or give --shard I/N."
        )
    return Shard(index, count)


def _array_number(environment: Mapping[str, str], name: str) -> int | None:
    """Return a number that SLURM gives a job array's tasks; None if it is empty or not there."""
    variable = f"SLURM_ARRAY_TASK_{name}"
    text = environment.get(variable, "").strip()
    if text and not re.fullmatch(r"[0-9]+", text):
        raise ConfigError(
            f"{variable} is '{text}', expected a whole number, as SLURM sets it in a job array. "
            f"Outside of one, run 'unset {variable}'; or give --shard I/N."
        )
    return int(text) if text else None


def shard_of(videos: Sequence[VideoFile], shard: Shard) -> list[VideoFile]:
    """Return a shard's videos, sorted by id; all shards together have each video once.

    The largest file goes to the least loaded shard, then the next one.
    """
    loads = [(0, index) for index in range(shard.count)]
    mine = []
    for video in sorted(videos, key=lambda video: (-video.size_bytes, video.id)):
        load, index = heapq.heappop(loads)
        heapq.heappush(loads, (load + video.size_bytes, index))
        if index == shard.index:
            mine.append(video)
    return sorted(mine, key=lambda video: video.id)


def refuse_shards(store: Place, count: int) -> None:
    """Raise if several tasks are to fill a store that takes one writer.

    Raises:
        ConfigError: for an HDF5 file.
    """
    if count > 1 and is_hdf5(store):
        other = str(store).rpartition(".")[0]
        raise ConfigError(
            f"{store}: an HDF5 store takes one writer at a time, so {count} shards cannot fill it "
            f"together. Use --out {other}.zarr; vllm-store export makes an HDF5 "
            "file of it."
        )
