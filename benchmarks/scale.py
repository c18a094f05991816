"""What a stream costs by the number of its videos: opened, appended to, found complete.

    python -m benchmarks.scale          (make bench-scale)

Stores of many videos are made by ``benchmarks.many_videos``, which is first proven to make what the
writer makes. Opening is measured in a process of its own: seconds of ``open_store`` alone, and the
most memory that the whole process had, Python and libraries included.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click
import numpy as np

from benchmarks.many_videos import make_store, prove, recipe, record, times, video_ids
from benchmarks.up_to_date_run import Run, make_videos, up_to_date_run
from cache_schema.store import StreamWriter, create_store
from extract.config import ExtractConfig
from extract.plan.targets import build_targets

KINDS = ("zarr", "h5")
ROWS, DIM = 20, {"zarr": 768, "h5": 8}
"""Of a ten-second video. In HDF5 rows are really written, and the journal does not know how wide
they are."""
APPENDED = 20
"""Videos in a row, to one store after the other."""

OPEN = """
import json, sys, time
from cache_schema.store import open_store
def peak_mb(): return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
before, started, cpu = peak_mb(), time.perf_counter(), time.process_time()
stream = open_store(sys.argv[1]).stream()
figures = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
figures |= {"mb": peak_mb(), "mb_before": before}
assert len(stream.read("0000/video_0000007")) == 20
started = time.perf_counter()
ids = stream.video_ids
figures["ids_seconds"] = time.perf_counter() - started
started = time.perf_counter()
some = [stream.commit(video_id).video.duration_seconds for video_id in ids[:: len(ids) // 1000]]
figures["record_us"] = (time.perf_counter() - started) / len(some) * 1e6
print(json.dumps(figures | {"videos": len(ids)}))
"""


def opened(store: Path) -> dict[str, float]:
    """Open a store in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(store)], capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: median(one[key] for one in rounds) for key in rounds[0]}


def opening(stores: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Return medians of opening each store, in turn."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in stores}
    for _ in range(rounds):
        for name, store in stores.items():
            taken[name].append(opened(store))
    return {name: medians(some) for name, some in taken.items()}


def appending(stores: dict[str, Path], rounds: int) -> dict[str, dict[str, float]]:
    """Return medians of committing one more video to each store, in turn.

    Of wall seconds most is waiting for the disk; CPU seconds tell whether the store's size matters.
    """
    opening_seconds: dict[str, float] = {}
    wall: dict[str, list[float]] = {name: [] for name in stores}
    cpu: dict[str, list[float]] = {name: [] for name in stores}
    with ExitStack() as stack:
        streams: dict[str, StreamWriter] = {}
        for name, store in stores.items():
            started = time.perf_counter()
            writer = stack.enter_context(create_store(store))
            streams[name] = writer.stream("many", recipe(), (DIM[store.suffix[1:]],))
            opening_seconds[name] = time.perf_counter() - started
        for number in range(rounds * APPENDED):
            for name, stream in streams.items():
                clocks = time.perf_counter(), time.process_time()
                stream.append(np.zeros((ROWS, DIM[stores[name].suffix[1:]]), np.float16))
                stream.commit(record(number, f"new/{number}"), times(ROWS))
                wall[name].append(time.perf_counter() - clocks[0])
                cpu[name].append(time.process_time() - clocks[1])
    return {
        name: {
            "ms": median(wall[name]) * 1e3,
            "cpu_ms": median(cpu[name]) * 1e3,
            "open_writer_seconds": opening_seconds[name],
        }
        for name in stores
    }


def complete(folder: Path, count: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return medians of ``vllm-extract`` on stores that hold all of so many videos."""
    (target,) = build_targets(ExtractConfig(), None)
    videos, cache, ids = folder / "videos", folder / "cache", video_ids(count)
    make_videos(videos, ids)
    stores = {kind: folder / f"complete.{kind}" for kind in KINDS}
    for store in stores.values():
        make_store(store, target.recipe, target.encoder.row_shape, ids, rows=1)
    up_to_date_run(videos, stores["zarr"], cache=cache, may_load=True)
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, store in stores.items():
            runs[kind].append(up_to_date_run(videos, store, cache=cache))
    return {
        kind: dict(zip(("seconds", "cpu_seconds"), map(median, zip(*some)), strict=True))  # noqa: B905
        for kind, some in runs.items()
    }


def show(what: str, figures: dict[str, dict[str, float]]) -> None:
    for name, values in figures.items():
        numbers = "  ".join(f"{key} {value:,.2f}" for key, value in values.items())
        click.echo(f"{what + ' ' + name:24}{numbers}")


def measure(
    folder: Path, counts: Sequence[int], done: int, rounds: int, say: Callable[[str], object]
) -> dict[str, object]:
    """Return all figures; ``counts`` are numbers of videos, the last the largest."""
    prove(folder)
    say("stores made at once are those that the writer makes")
    stores = {}
    for kind in KINDS:
        for count in counts:
            store = folder / f"{count}.{kind}"
            make_store(store, recipe(), (DIM[kind],), video_ids(count), ROWS)
            stores[f"{count} {kind}"] = store
    open_figures = opening(stores, rounds)
    show("open", open_figures)
    append_figures = appending(stores, rounds)
    show("append", append_figures)
    complete_figures = complete(folder, done, rounds)
    show(f"{done} complete", complete_figures)
    most = [open_figures[f"{counts[-1]} {kind}"] for kind in KINDS]
    least, largest = (append_figures[f"{count} zarr"] for count in (counts[0], counts[-1]))
    return {
        "open_million_seconds": max(one["seconds"] for one in most),
        "open_million_mb": max(one["mb"] for one in most),
        "append_million_vs_thousand_cpu": largest["cpu_ms"] / least["cpu_ms"],
        "complete_seconds": max(one["seconds"] for one in complete_figures.values()),
        "videos": list(counts),
        "complete_videos": done,
        "rounds": rounds,
        "rows_per_video": ROWS,
        "open": open_figures,
        "append": append_figures,
        "complete": complete_figures,
    }


@click.command()
@click.option("--rounds", default=5)
@click.option("--most", default=1_000_000, help="Videos of the largest store.")
@click.option("--complete", "done", default=100_000, help="Videos of the complete stores.")
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/scale.json")
def main(rounds: int, most: int, done: int, out: Path) -> None:
    """Print the tables and write OUT."""
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), (1000, 100_000, most), done, rounds, click.echo)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
