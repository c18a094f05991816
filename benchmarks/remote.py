"""Training from afar: how much of a link the first epoch uses, and how fast the later ones are.

    python -m benchmarks.remote [--rate 50] [--delay 20] [--megabytes 400] [--endpoint URL]

A store of 1,280 float16 values a row lies in a folder that a small server shows as a bucket
(``benchmarks/s3_folder.py``), behind a link of its own process (``benchmarks/slow_link.py``).
Epochs are read as training reads them: windows of 256 rows in the epoch's random order, batches of
8 in float32, one thread ahead.

    link_share        bytes fetched / (seconds of the first epoch x the link's rate), reading alone
    without_ahead     the same where each batch is asked for when its turn comes
    device            that needs half of what the link carries, in the first epoch and the second:
                      how long it waits for its first batch, and the share of the rest in which it
                      waits. A stand-in that sleeps; its steps take as long as the link takes for
                      twice their bytes
    statistics        link_share of the pass over all rows that a run makes before its first step
    later_epochs      seconds of the same store on the local disk / seconds of the cached one,
                      page cache warm, in turn, median of rounds with four caches and four copies
                      of the store: batches as training reads them, and windows alone
                      (``Stream.read_windows``); ``_cpu`` of CPU time, since on a shared machine
                      only that repeats
    partly            the same with the longest videos left out, so that some blocks are never
                      fetched
    anonymous_mb      growth of the process's own memory over the first epoch
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from unittest.mock import patch
from urllib.parse import urlsplit

import click
import numpy as np
import torch
from numpy.typing import NDArray

from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.place import Place, to_place
from cache_schema.store import create_store, open_store
from cache_schema.stream import Stream
from cache_schema.testing import add_video, make_recipe
from train.data import fetched_ahead as ahead
from train.data.batches import Batch, BatchReader
from train.data.feature_statistics import feature_statistics
from train.data.prefetch import Prefetch
from train.data.samples import find_rows
from train.data.windows import TaskWindows, epoch_batches
from train.task import whole_video

WIDTH = 1280
WINDOW_ROWS = 256
BATCH = 8
NUM_PARTS = 4
CREDENTIALS = {"AWS_SKIP_SIGNATURE": "true", "AWS_REGION": "us-east-1"}
Figures = dict[str, object]
Clocks = NDArray[np.float64]
"""(2,) seconds of wall and of CPU time."""


def build(place: Place, megabytes: int) -> None:
    """Write a store of random rows in several parts."""
    rng = np.random.default_rng(0)
    left, number = megabytes * 10**6, 0
    for _ in range(NUM_PARTS):
        end = left - megabytes * 10**6 // NUM_PARTS
        with create_store(place) as writer:
            stream = writer.stream("random", make_recipe(encoder_id="random"), (WIDTH,))
            while left > end:
                num_rows = int(rng.integers(200, 2000))
                rows = rng.standard_normal((num_rows, WIDTH), np.float32).astype(np.float16)
                add_video(stream, f"video{number:05d}", rows)
                left, number = left - num_rows * WIDTH * 2, number + 1


@contextmanager
def child(module: str, *arguments: str) -> Iterator[int]:
    """Run a server of ours and give its port."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Epochs:
    """Epochs of one stream, read as the trainer does."""

    def __init__(self, stream: Stream, *, leave_out: bool = False) -> None:
        self.stream = stream
        left_out = longest(stream) if leave_out else set()
        samples = [whole_video(name) for name in stream.video_ids if name not in left_out]
        self.rows = find_rows(samples, stream, allow_missing=0).rows
        self.windows = TaskWindows(lengths=[rows.num_rows for rows in self.rows])

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        reader = BatchReader(_ask, self.stream, self.rows, torch.device("cpu"))
        planned = epoch_batches([self.windows], WINDOW_ROWS, BATCH, seed=0, epoch=epoch)
        batches = ahead.fetched_ahead(self.stream, [one for _, one in planned], reader.spans)
        read = map(reader.read, batches)
        with Prefetch(read) as prefetched:
            yield from prefetched

    def read(self, epoch: int) -> Clocks:
        """Read an epoch and do nothing with it."""
        started = clocks()
        for _ in self.batches(epoch):
            pass
        return clocks() - started

    def windows_alone(self, epoch: int) -> Clocks:
        """Read the windows of an epoch into one buffer, without tensors."""
        reader = BatchReader(_ask, self.stream, self.rows, torch.device("cpu"))
        planned = epoch_batches([self.windows], WINDOW_ROWS, BATCH, seed=0, epoch=epoch)
        spans = [reader.spans(batch) for _, batch in planned]
        out = np.empty((BATCH, WINDOW_ROWS, WIDTH), np.float16)
        started = clocks()
        for one in spans:
            self.stream.read_windows(one, out[: len(one)])
        return clocks() - started

    def waiting(self, epoch: int, seconds_per_byte: float) -> Figures:
        """Return how long a device of this speed waits for the first batch, and then for rows."""
        waits: list[float] = []
        worked = 0.0
        started = time.perf_counter()
        for batch in self.batches(epoch):
            waits.append(time.perf_counter() - started)
            num_rows = sum(window.num_rows for window in batch.windows)
            step = num_rows * self.stream.row_bytes * seconds_per_byte
            time.sleep(step)
            worked += step
            started = time.perf_counter()
        first, waited = waits[0], sum(waits[1:])
        return {"first_batch_seconds": first, "wait_share": waited / (waited + worked)}


def clocks() -> Clocks:
    """Return seconds of wall time, and of this process's CPU time."""
    return np.array([time.perf_counter(), time.process_time()])


def longest(stream: Stream) -> set[str]:
    """Return the videos with the most rows: some of their blocks hold rows of no other."""
    return set(sorted(stream.video_ids, key=stream.rows_of)[-NUM_PARTS:])


def _ask(*_: object) -> dict[str, NDArray[np.float64]]:
    return {"target": np.zeros(1)}


@dataclass(frozen=True)
class Bench:
    """A store, here and behind the link."""

    folder: Path
    local: Path
    address: str
    rate: float
    """Of the link, bytes per second."""

    def opened(self, name: str, *, leave_out: bool = False) -> tuple[Epochs, DiskCache]:
        """Open the far store through a cache of this name."""
        cache = DiskCache(self.folder / name, 10**12)
        stream = open_store(self.address, cache=cache).stream()
        return Epochs(stream, leave_out=leave_out), cache

    def first_epoch(self, name: str, look_ahead_bytes: int = ahead.AHEAD_BYTES) -> Figures:
        """Read an epoch with an empty cache."""
        epochs, cache = self.opened(name)
        before = cache.counts.fetched_bytes
        with patch.object(ahead, "AHEAD_BYTES", look_ahead_bytes), peak_memory() as peak:
            seconds = float(epochs.read(0)[0])
        fetched = cache.counts.fetched_bytes - before
        return {
            "link_share": fetched / seconds / self.rate,
            "seconds": seconds,
            "fetched_bytes": fetched,
            "hit_rate": cache.counts.hit_rate,
            "anonymous_mb": peak() / 1e6,
        }

    def statistics(self, name: str) -> Figures:
        """Measure mean and deviation of all rows with an empty cache, as a run does first."""
        epochs, cache = self.opened(name)
        before, started = cache.counts.fetched_bytes, time.perf_counter()
        feature_statistics(epochs.stream, epochs.rows)
        seconds = time.perf_counter() - started
        fetched = cache.counts.fetched_bytes - before
        return {"link_share": fetched / seconds / self.rate, "seconds": seconds}

    def waiting(self, name: str) -> Figures:
        """Let a device wait that needs half of what the link carries."""
        epochs, _ = self.opened(name)
        first, second = (epochs.waiting(number, 2 / self.rate) for number in range(2))
        return {"first_epoch": first, "second_epoch": second}

    def later_epochs(
        self, names: Sequence[str], rounds: int, *, leave_out: bool = False
    ) -> Figures:
        """Read epochs from copies of the local store and from caches in turn.

        Several, since how fast a file is copied from depends on where its pages came to lie.
        """
        batches: list[Clocks] = []
        windows: list[Clocks] = []
        fetched = missed = 0
        for name in names:
            copy = self.folder / f"local-{name}.zarr"
            shutil.copytree(self.local, copy)
            local = Epochs(open_store(copy).stream(), leave_out=leave_out)
            far, cache = self.opened(name, leave_out=leave_out)
            feature_statistics(far.stream, far.rows)  # fetches all, as a run does first
            local.read(1)
            fetched -= cache.counts.fetched_bytes
            missed -= cache.counts.missed_bytes
            for n in range(2, rounds + 2):
                batches.append(local.read(n) / far.read(n))
                windows.append(local.windows_alone(n) / far.windows_alone(n))
            fetched += cache.counts.fetched_bytes
            missed += cache.counts.missed_bytes
        return {
            **_medians("batches_vs_local", batches),
            **_medians("windows_vs_local", windows),
            "fetched_bytes": fetched,
            "missed_bytes": missed,
        }


def _medians(name: str, ratios: Sequence[Clocks]) -> Figures:
    wall, cpu = np.median(ratios, axis=0).tolist()
    return {name: wall, f"{name}_cpu": cpu}


@contextmanager
def peak_memory() -> Iterator[Callable[[], float]]:
    """Give the growth in bytes of this process's anonymous memory, looked at every 10 ms."""
    before = most = anonymous_bytes()
    done = Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, anonymous_bytes())

    thread = Thread(target=watch)
    thread.start()
    try:
        yield lambda: most - before
    finally:
        done.set()
        thread.join()


def anonymous_bytes() -> int:
    """Return the resident memory of this process that no file backs."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [one for one in status.splitlines() if one.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


@contextmanager
def bench(
    folder: Path, rate: float, delay: float, megabytes: int, endpoint: str | None
) -> Iterator[Bench]:
    """Write the store and put it behind the link."""
    local = folder / "bucket" / "f.zarr"
    build(local, megabytes)
    with ExitStack() as servers:
        servers.enter_context(patch.dict(os.environ, {} if endpoint else CREDENTIALS))
        if endpoint is None:
            port = servers.enter_context(child("benchmarks.s3_folder", str(folder / "bucket")))
            server, path = f"127.0.0.1:{port}", "bucket/f.zarr"
        else:
            server, path = urlsplit(endpoint).netloc, urlsplit(endpoint).path.strip("/")
            build(to_place(f"s3+http://{server}/{path}"), megabytes)
        link = servers.enter_context(child("benchmarks.slow_link", server, str(delay), str(rate)))
        yield Bench(folder, local, f"s3+http://127.0.0.1:{link}/{path}", rate)


@click.command()
@click.option("--rate", default=50.0, help="Of the link, 10^6 bytes per second.")
@click.option("--delay", default=20.0, help="Of each round trip, milliseconds.")
@click.option("--megabytes", default=400, help="Size of the store.")
@click.option("--rounds", default=5, help="Of later epochs, with each of several caches.")
@click.option("--endpoint", help="http://HOST:PORT/BUCKET/NAME.zarr of another S3 server.")
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/remote.json")
def main(
    rate: float, delay: float, megabytes: int, rounds: int, endpoint: str | None, out: Path
) -> None:
    """Measure, print and keep the figures."""
    load = os.getloadavg()
    with (
        tempfile.TemporaryDirectory() as name,
        bench(Path(name), rate * 1e6, delay / 1e3, megabytes, endpoint) as made,
    ):
        figures = {
            "first_epoch": made.first_epoch("a"),
            "without_ahead": made.first_epoch("b", look_ahead_bytes=0),
            "device": made.waiting("c"),
            "statistics": made.statistics("d"),
            "later_epochs": made.later_epochs("abcd", rounds),
            "partly": made.later_epochs("efg", rounds, leave_out=True),
        }
    setting = {
        "rate_mb_per_second": rate,
        "delay_ms": delay,
        "megabytes": megabytes,
        "rounds": rounds,
        "server": "benchmarks/s3_folder.py" if endpoint is None else "another",
        "load_average": [load, os.getloadavg()],
    }
    text = json.dumps({**figures, **setting}, indent=2) + "\n"
    out.write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
