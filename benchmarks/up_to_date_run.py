"""Time ``vllm-extract`` where every video is done: what looking costs, with nothing to extract.

    python benchmarks/up_to_date_run.py --videos 20000

The videos are sparse files of 1 MB and the store is written by the writer itself, so nothing is
decoded. The first run loads the network (its recipe is not remembered yet), the others do not.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import click
import numpy as np

from cache_schema.recipe import Recipe
from cache_schema.records import VideoRecord
from cache_schema.store import create_store
from extract.config import ExtractConfig
from extract.plan.targets import build_targets

SIZE_BYTES = 1_000_000
RUN = "from extract.cli import main; main()"


def make_videos(folder: Path, count: int) -> list[str]:
    """Make files that count as videos; return their ids."""
    ids = [f"{number // 1000:03d}/video_{number:06d}" for number in range(count)]
    for video_id in ids:
        path = folder / f"{video_id}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(SIZE_BYTES)
    return ids


def fill(store: Path, recipe: Recipe, row_shape: tuple[int, ...], ids: list[str]) -> None:
    """Commit one row for each video."""
    writer = create_store(store)
    stream = writer.stream(recipe.encoder.id, recipe, row_shape)
    for video_id in ids:
        stream.append(np.zeros((1, *row_shape), np.float16))
        video = VideoRecord(
            id=video_id,
            path=f"videos/{video_id}.mp4",
            digest=f"sha256-16x256k:{hash(video_id) % 2**63:064x}",
            size_bytes=SIZE_BYTES,
            duration_seconds=0.5,
            fps=Fraction(25),
            num_frames=12,
            width=96,
            height=64,
            decoder="pyav 18.1.0",
            padded_frames=0,
        )
        stream.commit(video, np.array([[0, 0.5]]))
    writer.close()


def timed(folder: Path, store: Path) -> float:
    """Return the seconds of one whole command."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-c", RUN, str(folder / "videos"), "--out", str(store)]
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    assert "0 videos extracted" in done.stdout, done.stdout
    return seconds


@click.command()
@click.option("--videos", default=20000)
@click.option("--store", "suffix", type=click.Choice(["zarr", "h5"]), default="zarr")
@click.option("--runs", default=5)
def main(videos: int, suffix: str, runs: int) -> None:
    """Print the seconds of the first run, and the median of the others."""
    (target,) = build_targets(ExtractConfig(), None)
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Path(name, f"feats.{suffix}")
        ids = make_videos(folder / "videos", videos)
        fill(store, target.recipe, target.encoder.row_shape, ids)
        first = timed(folder, store)
        others = [timed(folder, store) for _ in range(runs)]
    median = statistics.median(others)
    click.echo(f"first {first:.2f} s, then {median:.2f} s ({min(others):.2f}-{max(others):.2f})")


if __name__ == "__main__":
    main()
