"""What extraction costs beside its limit, and beside the loop that common extractors run.

    python -m benchmarks.extract [--quick]

Every input is generated: two H.264 videos of each size; networks with random weights (but for
EfficientNet-Lite0), on a CPU. In every trial the same videos are decoded alone; for each runtime a
few batches are encoded alone, one thread a core as in a run, and a whole run is made; medians of
all trials:

    limit            (CPU-seconds of decoding + of encoding) / cores
    wall_vs_limit    wall seconds of the run / limit: start-up and loading left out
    cpu_vs_limit     CPU-seconds of the run / (of decoding + of encoding): what is done besides; the
                     figure to trust where others use the machine
    both_slower_side_by_side   CPU-seconds of decoding and encoding at the same time / alone, with
                     nothing handed over (``benchmarks/shared_cores.py``): no run can do without
    vs_common_loop   wall seconds of ``benchmarks/common_loop.py`` / of the run, for each second of
                     video
    two_in_one       wall seconds of one run with two encoders / of two runs (_cpu: CPU-seconds;
                     decode_share: of the two runs' CPU-seconds)
    long             the whole command on a long video, start-up included
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from statistics import median
from unittest.mock import patch

import click
import torch

from benchmarks.extraction_inputs import make_long_video, make_networks, make_videos
from benchmarks.shared_cores import slower_side_by_side
from extract import extract
from extract.config import ExtractConfig
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames
from extract.decode.process import DecoderProcess
from extract.encode.preprocess import network_size
from extract.plan.targets import build_targets
from extract.process_memory import freed_memory_kept

FPS = 2
BATCH = 8
ENCODED_BATCHES = 4
LONG_TRIALS = 3
RUNTIMES = ("torch", "openvino")
Figures = dict[str, float]


def cpu_seconds_of_decoding(videos: Sequence[Path]) -> float:
    """Decode the sampled frames of all videos in this process, and convert them to RGB."""
    with freed_memory_kept():  # as in a run
        started = time.process_time()
        for path in videos:
            for _ in sample_frames(open_video(path, "pyav"), Fraction(FPS), []):
                pass
        return time.process_time() - started


def cpu_seconds_of_a_row(name: str, runtime: str) -> float:
    """Encode a few batches that lie ready, side by side on as many threads as there are cores."""
    config = ExtractConfig(encoders=(name,), device="cpu", runtime=runtime)
    encoder = build_targets(config, None)[0].encoder
    shape = (BATCH, encoder.frames_per_window, 3, *network_size(encoder.preprocess))
    pixels_BFCHW = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    cores = len(os.sched_getaffinity(0))
    threads = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    with freed_memory_kept(), threads as pool:  # as in a run
        list(pool.map(encoder.encode, [pixels_BFCHW] * cores))
        started = time.process_time()
        list(pool.map(encoder.encode, [pixels_BFCHW] * (cores * ENCODED_BATCHES)))
        return (time.process_time() - started) / (cores * ENCODED_BATCHES * BATCH)


def run(videos: Sequence[Path], encoders: Sequence[str], **settings: object) -> dict:
    """Extract into a new store; return the summary."""
    # What is decoded while networks load would be no part of the run's wall time.
    with tempfile.TemporaryDirectory() as folder, patch.object(DecoderProcess, "begin"):
        store = Path(folder) / "f.zarr"
        report = extract(videos, store, encoders=encoders, fps=FPS, device="cpu", **settings)
        facts = report.summary()
    assert not facts["videos_failed"], facts["failures"]
    return facts


def trial(videos: Sequence[Path], encoder: str, loop: bool) -> dict[str, Figures]:
    """Measure everything about one encoder once, by each runtime in turn."""
    decode = cpu_seconds_of_decoding(videos)
    found = {runtime: one_run(videos, encoder, runtime, decode) for runtime in RUNTIMES}
    if loop:
        seconds = common_loop(videos[0], encoder)
        for figures in found.values():
            figures["vs_common_loop"] = seconds / figures["run_wall_seconds_per_row"]
    return found


def one_run(videos: Sequence[Path], encoder: str, runtime: str, decode: float) -> Figures:
    """Measure a run, and its encoder alone."""
    row = cpu_seconds_of_a_row(encoder, runtime)
    facts = run(videos, [encoder], runtime=runtime)
    encode = row * facts["rows"]
    limit = (decode + encode) / len(os.sched_getaffinity(0))
    cpu = facts["cpu_seconds"]
    return {
        "decode_cpu_seconds": decode,
        "encode_cpu_seconds": encode,
        "frames_per_cpu_second": 1 / row,
        "run_decode_cpu_seconds": cpu["decode"],
        "run_encode_cpu_seconds": cpu["encode"],
        "run_wall_seconds": facts["wall_seconds"],
        "run_wall_seconds_per_row": facts["wall_seconds"] / facts["rows"],
        "video_hours_per_hour": facts["video_hours_per_hour"],
        "wall_vs_limit": facts["wall_seconds"] / limit,
        "cpu_vs_limit": sum(cpu.values()) / (decode + encode),
    }


def common_loop(video: Path, encoder: str) -> float:
    """Return the wall seconds that the common loop takes for a row."""
    command = [sys.executable, "-m", "benchmarks.common_loop", str(video), encoder, str(FPS)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def two_in_one(videos: Sequence[Path], encoders: Sequence[str]) -> Figures:
    """Compare one run with several encoders with a run for each."""
    runs = [run(videos, some, runtime="openvino") for some in (encoders, *([e] for e in encoders))]
    wall = [facts["wall_seconds"] for facts in runs]
    cpu = [sum(facts["cpu_seconds"].values()) for facts in runs]
    decode = sum(facts["cpu_seconds"]["decode"] for facts in runs[1:])
    return {
        "two_in_one": wall[0] / sum(wall[1:]),
        "two_in_one_cpu": cpu[0] / sum(cpu[1:]),
        "decode_share": decode / sum(cpu[1:]),
    }


def long_run(video: Path, encoder: str, runtime: str) -> Figures:
    """Time the whole command, from its start to its end, beside decoding and encoding alone."""
    decode = cpu_seconds_of_decoding([video])
    row = cpu_seconds_of_a_row(encoder, runtime)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from extract.cli import main; main()", str(video)]
        command += ["--out", f"{folder}/f.zarr", "--encoder", encoder, "--runtime", runtime]
        command += ["--fps", str(FPS), "--device", "cpu", "--json"]
        started = time.perf_counter()
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        wall = time.perf_counter() - started
    facts = json.loads(said)
    cpu = decode + row * facts["rows"]
    return {
        "decode_cpu_seconds": decode,
        "encode_cpu_seconds": row * facts["rows"],
        "command_wall_seconds": wall,
        "start_seconds": wall - facts["wall_seconds"],
        "wall_vs_limit": wall * len(os.sched_getaffinity(0)) / cpu,
        "cpu_vs_limit": sum(facts["cpu_seconds"].values()) / cpu,
    }


def medians(measured: Sequence[Figures]) -> Figures:
    """Return each figure's median over the trials."""
    return {key: median(one[key] for one in measured) for key in measured[0]}


def show(name: str, figures: Figures) -> None:
    click.echo(f"{name}")
    for key, value in figures.items():
        click.echo(f"  {key:26}{value:10.3f}")


def measure_size(
    size: str, videos: Sequence[Path], networks: dict[str, str], trials: int
) -> dict[str, Figures]:
    """Measure all encoders on videos of one size."""
    found: dict[str, Figures] = {}
    for name in ("efficientnet_lite0", "vit_b16"):
        # The loop takes long with a large network, and does the same at every size.
        loop = name == "efficientnet_lite0" or size == "720p"
        measured = [trial(videos, networks[name], loop) for _ in range(trials)]
        for runtime in RUNTIMES:
            key = f"{name} {runtime} {size}"
            found[key] = medians([one[runtime] for one in measured])
            found[key] |= slower_side_by_side(videos, FPS, networks[name], runtime)
            show(key, found[key])
    return found


def measure_pair(
    size: str, videos: Sequence[Path], networks: dict[str, str], trials: int
) -> dict[str, Figures]:
    """Measure two encoders in one decode of videos of one size."""
    pair = [networks["efficientnet_lite0"], networks["clip_b32"]]
    key = f"efficientnet_lite0 + clip_b32 openvino {size}"
    figures = medians([two_in_one(videos, pair) for _ in range(trials)])
    show(key, figures)
    return {key: figures}


def measure_long(
    folder: Path, seconds: int, minutes: int, encoders: dict[str, str]
) -> dict[str, Figures]:
    """Measure the whole command on one long video.

    Args:
        folder: Has the short videos.
        seconds: Their length.
        minutes: Of the long one.
        encoders: What to load, by name.
    """
    long = folder / "long.mp4"
    make_long_video(long, folder / "720p" / "chelsea.mp4", minutes * 60 // seconds)
    found = {}
    for name, runtime in (*(("efficientnet_lite0", one) for one in RUNTIMES), ("vit_b16", "torch")):
        key = f"{name} {runtime} {minutes} min of 720p, the whole command"
        runs = [long_run(long, encoders[name], runtime) for _ in range(LONG_TRIALS)]
        found[key] = medians(runs)
        show(key, found[key])
    return found


@click.command()
@click.option("--quick", is_flag=True, help="Two trials, 720p alone, nothing long.")
@click.option("--trials", default=5)
@click.option("--seconds", default=60, help="Length of each of the two videos of a size.")
@click.option("--long-minutes", default=10)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/extract.json")
def main(quick: bool, trials: int, seconds: int, long_minutes: int, out: Path) -> None:
    """Print the tables and write OUT."""
    trials = 2 if quick else trials
    result: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": os.getloadavg()[0],
        "trials": trials,
        "video_seconds": seconds,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks = make_networks(folder)
        figures: dict[str, Figures] = {}
        for size in ("720p",) if quick else ("720p", "1080p"):
            videos = make_videos(folder / size, size, seconds)
            figures |= measure_size(size, videos, networks, trials)
        if not quick:
            figures |= measure_pair(size, videos, networks, trials)
            # The next size takes four times as long to make and to decode.
            videos = make_videos(folder / "2160p", "2160p", seconds // 4)
            figures |= measure_pair("2160p", videos, networks, trials)
            figures |= measure_long(folder, seconds, long_minutes, networks)
    result |= {"load_average_after": os.getloadavg()[0], **figures}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
