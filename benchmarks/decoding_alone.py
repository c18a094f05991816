"""Processes that only decode, side by side: what runs of as many processes are compared with.

    python -m benchmarks.decoding_alone FPS VIDEO ...    says so when it is ready, waits for a line
                                                         and prints how many frames it sampled

Neither needs torch, which takes a new process many seconds to import.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from extract.decode.backends import open_video
from extract.decode.copy_threads import CopyThreads
from extract.decode.frames import GivesPlanes, SampledFrame, sample_frames
from extract.process_memory import freed_memory_kept

__all__ = ["frames_of", "frames_per_second"]

FRAMES_TOGETHER = 6
"""About as many as a message has of 720p."""


def frames_of(video: Path, fps: Fraction) -> Iterator[SampledFrame]:
    """Yield the sampled frames of a video, as a GPU gets them; some are filled a little later."""
    source = open_video(video, "pyav")
    assert isinstance(source, GivesPlanes)
    copies = CopyThreads()
    source.give_planes(partial(np.empty, dtype=np.uint8), copies.run)
    for number, frame in enumerate(sample_frames(source, fps, [])):
        if number % FRAMES_TOGETHER == 0:
            copies.wait()
        yield frame
    copies.wait()


def frames_per_second(videos: Sequence[Path], fps: Fraction, processes: int) -> float:
    """Return sampled frames per second of processes that each decode some of the videos."""
    command = [sys.executable, "-m", "benchmarks.decoding_alone", str(fps)]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, *map(str, videos[number::processes])],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(processes)
        ]
        for child in children:
            _line_of(child)
        started = time.perf_counter()
        for child in children:
            print(file=child.stdin, flush=True)
        counts = [int(_line_of(child)) for child in children]
        return sum(counts) / (time.perf_counter() - started)


def _line_of(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def main(fps: str, *videos: str) -> None:
    """Decode when told to."""
    print("ready", flush=True)
    sys.stdin.readline()
    with freed_memory_kept():  # as in a run
        print(sum(1 for video in videos for _ in frames_of(Path(video), Fraction(fps))))


if __name__ == "__main__":
    main(*sys.argv[1:])
