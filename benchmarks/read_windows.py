"""Windows per second out of a store, beside a gather of the same bytes from one ``np.memmap``.

The reference is the fastest plain thing there is: all rows of all videos in one flat memory-mapped
file, each window copied into a preallocated batch. Both read the same random windows in turn,
several rounds; the median of the per-round ratios is the figure to trust.

    python -m benchmarks.read_windows [--videos 400]
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import click
import numpy as np

from cache_schema.recipe import EncoderRecipe, Recipe, SamplingRecipe
from cache_schema.records import VideoRecord
from cache_schema.store import create_store, open_store
from cache_schema.stored_numbers import Array

WINDOW_ROWS = 64
BATCH = 64


def build(folder: Path, suffix: str, num_videos: int, dim: int) -> dict[str, tuple[int, int]]:
    """Write a store and a flat file of the same rows; return id -> (first row, rows) there."""
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.uniform(np.log(200), np.log(2000), num_videos)).astype(int)
    recipe = Recipe(
        origin="imported",
        encoder=EncoderRecipe(
            id="random", weights_sha256="unknown", compute_dtype="unknown", pooling="unknown"
        ),
        sampling=SamplingRecipe(fps=Fraction(2), frames_per_window=1, stride_frames=1),
        preprocess=None,
        decoder=None,
        store_dtype="float16",
    )
    writer = create_store(folder / f"store{suffix}")
    stream = writer.stream("random", recipe, (dim,))
    where: dict[str, tuple[int, int]] = {}
    first = 0
    with (folder / "flat.bin").open("wb") as flat:
        for number, length in enumerate(lengths.tolist()):
            rows = rng.standard_normal((length, dim), dtype=np.float32).astype(np.float16)
            flat.write(rows.tobytes())
            stream.append(rows)
            starts = np.arange(length) / 2
            stream.commit(_record(f"video{number:05d}"), np.stack([starts, starts + 0.5], axis=1))
            where[f"video{number:05d}"] = (first, length)
            first += length
    writer.close()
    return where


def _record(video_id: str) -> VideoRecord:
    return VideoRecord(
        id=video_id, path="", digest="unknown", size_bytes=0, duration_seconds=0.0,
        fps=Fraction(30), num_frames=0, width=0, height=0, decoder="none", padded_frames=0,
    )  # fmt: skip


def seconds_per_round(read: Callable[[int], None], num_batches: int) -> float:
    """Time ``num_batches`` calls."""
    started = time.perf_counter()
    for batch in range(num_batches):
        read(batch)
    return time.perf_counter() - started


@click.command()
@click.option("--videos", default=400, help="Videos of 200 to 2000 rows.")
@click.option("--dim", default=768)
@click.option("--rounds", default=9)
@click.option("--trials", default=5)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/read.json")
def main(videos: int, dim: int, rounds: int, trials: int, out: Path) -> None:
    """Print windows/s of either store and of the memmap gather, and their ratio; write OUT."""
    result: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "load_average_before": os.getloadavg()[0],
        "rounds": rounds,
        "trials": trials,
        "window_rows": WINDOW_ROWS,
        "dim": dim,
    }
    for suffix in ("zarr", "h5"):
        with tempfile.TemporaryDirectory() as name:
            where = build(Path(name), f".{suffix}", videos, dim)
            measured = [
                measure(Path(name), f".{suffix}", where, dim, rounds) for _ in range(trials)
            ]
        figures = {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        ratios = sorted(one["ratio"] for one in measured)
        result[suffix] = figures | {"ratios": ratios}
        click.echo(
            f"{suffix:5}{figures['store_windows_per_second']:10,.0f} windows/s, np.memmap gather "
            f"{figures['memmap_windows_per_second']:10,.0f}, ratio {figures['ratio']:.2f} "
            f"({ratios[0]:.2f} - {ratios[-1]:.2f})"
        )
    result["load_average_after"] = os.getloadavg()[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure(
    folder: Path, suffix: str, where: dict[str, tuple[int, int]], dim: int, rounds: int
) -> dict[str, float]:
    """Return windows/s of both readers (medians) and the median of the rounds' ratios."""
    rng = np.random.default_rng(1)
    names = list(where)
    num_batches = 60
    batches = []
    for _ in range(num_batches):
        picks = [names[i] for i in rng.integers(0, len(names), BATCH)]
        batches.append(
            [(v, int(rng.integers(0, where[v][1] - WINDOW_ROWS)), WINDOW_ROWS) for v in picks]
        )
    flat = np.memmap(folder / "flat.bin", np.float16, "r").reshape(-1, dim)
    offsets = [[where[v][0] + first for v, first, _ in batch] for batch in batches]
    stream = open_store(folder / f"store{suffix}").stream()
    out: Array = np.empty((BATCH, WINDOW_ROWS, dim), np.float16)
    check: Array = np.empty_like(out)

    def read_memmap(batch: int) -> None:
        for target, first in zip(check, offsets[batch], strict=True):
            target[:] = flat[first : first + WINDOW_ROWS]

    def read_store(batch: int) -> None:
        stream.read_windows(batches[batch], out)

    for batch in range(num_batches):  # warms the page cache and proves both read the same
        read_memmap(batch)
        read_store(batch)
        if not np.array_equal(out, check):
            raise SystemExit(f"batch {batch}: the store's rows differ from the flat file's")
    pairs = [
        (seconds_per_round(read_memmap, num_batches), seconds_per_round(read_store, num_batches))
        for _ in range(rounds)
    ]
    num_windows = num_batches * BATCH
    return {
        "memmap_windows_per_second": num_windows / statistics.median(m for m, _ in pairs),
        "store_windows_per_second": num_windows / statistics.median(s for _, s in pairs),
        "ratio": statistics.median(m / s for m, s in pairs),
    }


if __name__ == "__main__":
    main()
