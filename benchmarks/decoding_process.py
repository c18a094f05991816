r"""What decoding in a child process costs: CPU and wall seconds of decoding here and in the child.

    python benchmarks/decoding_process.py VIDEO --fps 0

Every round decodes the video once each way; medians of all rounds. Frames are looked at as
extraction does: 32 MB of them are stacked, then dropped.
"""

import resource
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from statistics import median

import click
import numpy as np

from extract.decode.backends import open_video
from extract.decode.frames import SampledFrame, VideoFacts, sample_frames
from extract.decode.process import DecoderProcess
from extract.pipeline.decode_stage import CHUNK_BYTES

Way = Callable[[Path, Fraction | None], None]


def here(path: Path, fps: Fraction | None) -> None:
    """Decode in this process."""
    look_at(sample_frames(open_video(path, "pyav"), fps, []))


def in_a_child(path: Path, fps: Fraction | None) -> None:
    """Decode in a child, which starts for it."""
    with DecoderProcess() as process:
        look_at(process.decode(path, "pyav", fps))


def look_at(items: Iterable[SampledFrame | VideoFacts]) -> None:
    """Stack frames chunk by chunk."""
    chunk: list[np.ndarray] = []
    for item in items:
        if isinstance(item, SampledFrame):
            chunk.append(item.pixels)
        if sum(rgb.nbytes for rgb in chunk) >= CHUNK_BYTES or isinstance(item, VideoFacts):
            if chunk:
                np.stack(chunk)
            chunk = []


def cpu_seconds() -> float:
    """Return what this process and its ended children have used."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True))
@click.option("--fps", type=float, default=0, help="Sampled frames per second; 0: every frame.")
@click.option("--rounds", default=5)
def main(video: Path, fps: float, rounds: int) -> None:
    """Compare both ways on one video."""
    ways: dict[str, Way] = {"here": here, "in a child": in_a_child}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, decode in ways.items():
            cpu, wall = cpu_seconds(), time.perf_counter()
            decode(video, Fraction(fps) if fps else None)
            seconds[name].append((cpu_seconds() - cpu, time.perf_counter() - wall))
    for name, measured in seconds.items():
        cpu, wall = (median(column) for column in zip(*measured, strict=True))
        click.echo(f"{name}: {cpu:.2f} CPU-s, {wall:.2f} s")


if __name__ == "__main__":
    main()
