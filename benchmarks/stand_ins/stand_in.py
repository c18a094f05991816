"""What a stand-in is, and the store of its features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from cache_schema.row_writer import imported_recipe, imported_times, imported_video
from cache_schema.store import create_store

__all__ = ["Features", "StandIn", "Use", "Video", "scaled", "write_features"]

POOL_ROWS = 4096
"""Different rows of a store: random numbers cost more than writing them."""
BLOCK_ROWS = 1024
"""Rows written at a time."""

WriteAnnotations = Callable[[Path, float, np.random.Generator], "list[Video]"]
"""Folder, share of the full size and random numbers -> the videos that features are needed of."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """One that was never filmed."""

    id: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Features:
    """What is commonly used as features of a data set."""

    name: str
    width: int
    fps: Fraction
    window_frames: int = 1
    stride_frames: int = 1

    def num_rows(self, seconds: float) -> int:
        """Count the rows of a video: its whole windows, at least one."""
        frames = int(seconds * self.fps)
        return max(1, (frames - self.window_frames) // self.stride_frames + 1)


@dataclass(frozen=True, kw_only=True)
class Use:
    """A task on a data set."""

    task: str
    annotations: str = "."
    """Folder below that of the annotations."""
    most_rows: int = 20_000
    """Rows of the validation subset that are predicted."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """One data set."""

    write_annotations: WriteAnnotations
    features: Features
    uses: Sequence[Use]
    has_newer: bool = False
    """Whether a later version of the set is here: then only reading is measured."""


def scaled(count: int, share: float) -> int:
    """Return a share of a number, at least two: one might leave a subset empty."""
    return max(2, round(count * share))


def write_features(
    path: Path, features: Features, videos: Sequence[Video], rng: np.random.Generator
) -> int:
    """Write a store of rows that were made nowhere, by the writer; return their number."""
    recipe = imported_recipe(
        features.name,
        fps=features.fps,
        window_frames=features.window_frames,
        stride_frames=features.stride_frames,
    )
    pool_PD = rng.standard_normal((POOL_ROWS, features.width), np.float32).astype(np.float16)
    total = 0
    with create_store(path) as store:
        stream = store.stream(features.name, recipe, (features.width,))
        for video in videos:
            num_rows = features.num_rows(video.seconds)
            for first in range(0, num_rows, BLOCK_ROWS):
                start = rng.integers(POOL_ROWS - BLOCK_ROWS)
                stream.append(pool_PD[start : start + min(BLOCK_ROWS, num_rows - first)])
            times_R2 = imported_times(recipe, num_rows)
            stream.commit(imported_video(video.id, recipe, times_R2), times_R2)
            total += num_rows
    return total
