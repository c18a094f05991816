"""How long commands take besides what they do.

    python -m benchmarks.start          (make bench-start)

``--help``, runs that find all videos done, and one that loads torch and a network for a video of
two seconds. Medians; the commands, and the stores, take turns. Stores are made by
``benchmarks.many_videos``.
"""

import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click

from benchmarks import extraction_inputs
from benchmarks.many_videos import make_store, video_ids
from benchmarks.up_to_date_run import Run, make_videos, up_to_date_run
from extract.config import ExtractConfig
from extract.plan.targets import build_targets

HELP_ROUNDS = 9


def help_seconds() -> dict[str, float]:
    """Return the median seconds of ``--help`` of every command."""
    scripts = tomllib.loads(Path("pyproject.toml").read_text())["project"]["scripts"]
    programs = {name: Path(sys.executable).with_name(name) for name in scripts}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(HELP_ROUNDS):
        for name, program in programs.items():
            started = time.perf_counter()
            subprocess.run([program, "--help"], check=True, capture_output=True)
            taken[name].append(time.perf_counter() - started)
    return {name: median(seconds) for name, seconds in taken.items()}


def up_to_date(counts: Sequence[int], rounds: int) -> dict[str, dict[str, float]]:
    """Return figures of an up-to-date run by number of videos and kind of store."""
    (target,) = build_targets(ExtractConfig(), None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = {}
        for count in counts:
            videos, ids = folder / f"videos{count}", video_ids(count)
            make_videos(videos, ids)
            for suffix in ("zarr", "h5"):
                store = folder / f"{count}.{suffix}"
                make_store(store, target.recipe, target.encoder.row_shape, ids, rows=1)
                stores[f"{count} {suffix}"] = (videos, store)
        cache = folder / "cache"
        up_to_date_run(*next(iter(stores.values())), cache=cache, may_load=True)
        runs: dict[str, list[Run]] = {key: [] for key in stores}
        for _ in range(rounds):
            for key, places in stores.items():
                runs[key].append(up_to_date_run(*places, cache=cache))
    return {key: summary(some) for key, some in runs.items()}


def short_extraction(rounds: int) -> dict[str, float]:
    """Return the median seconds of an extraction, and of its end behind the last it says."""
    walls, ends = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = extraction_inputs.make_videos(folder / "videos", "256p", seconds=2)[0]
        for number in range(1 + rounds):
            wall, end = _timed_extraction(video, folder / f"{number}.zarr")
            if number:  # at the first the recipe may not be remembered yet
                walls.append(wall)
                ends.append(end)
    return {"seconds": median(walls), "end_seconds": median(ends)}


def _timed_extraction(video: Path, store: Path) -> tuple[float, float]:
    program = Path(sys.executable).with_name("vllm-extract")
    command = [program, str(video), "--out", str(store), "--device", "cpu", "--json"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().rstrip() not in ("}", ""):
            pass
        said = time.perf_counter()
    ended = time.perf_counter()
    if process.returncode:
        raise SystemExit("vllm-extract failed")
    return ended - started, ended - said


def summary(runs: Sequence[Run]) -> dict[str, float]:
    walls, cpus = zip(*runs, strict=True)
    return {
        "seconds": median(walls),
        "least_seconds": min(walls),
        "cpu_seconds": median(cpus),
    }


@click.command()
@click.option("--rounds", default=5)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/results/start.json")
def main(rounds: int, out: Path) -> None:
    """Print the tables and write OUT."""
    helps = help_seconds()
    for name, seconds in helps.items():
        click.echo(f"{name + ' --help':24}{seconds:8.3f} s")
    runs = up_to_date((22, 20_000), rounds)
    for key, figures in runs.items():
        click.echo(
            f"{key + ', up to date':24}{figures['seconds']:8.2f} s (least "
            f"{figures['least_seconds']:.2f}, CPU {figures['cpu_seconds']:.2f})"
        )
    short = short_extraction(rounds)
    for key, figure in short.items():
        click.echo(f"{'a short video, ' + key:32}{figure:8.2f}")
    result = {
        "help_seconds_most": max(helps.values()),
        "up_to_date_22_seconds": runs["22 zarr"]["seconds"],
        "up_to_date_20000_seconds": runs["20000 zarr"]["seconds"],
        "imports_torch": False,  # up_to_date_run would have refused
        "rounds": rounds,
        "help_rounds": HELP_ROUNDS,
        "help_seconds": helps,
        "up_to_date": runs,
        "short_extraction": short,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
