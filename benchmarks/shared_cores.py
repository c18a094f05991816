"""How much more CPU time decoding and encoding take side by side than each alone.

Two processes that keep all cores busy share caches, memory and a clock. What that costs no
pipeline can avoid: it is there when both do nothing but their work and hand nothing over. Each is
repeated for some seconds in a process of its own, alone and then both at once.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch

from extract.config import ExtractConfig
from extract.decode.backends import open_video
from extract.decode.frames import sample_frames
from extract.encode.preprocess import network_size
from extract.plan.targets import build_targets
from extract.process_memory import freed_memory_kept

__all__ = ["slower_side_by_side"]

SECONDS = 6.0
BATCH = 8

Load = Callable[..., Callable[[], int]]
"""Makes a function that does a piece of work and returns how many frames it was."""


def slower_side_by_side(
    videos: Sequence[Path], fps: int, encoder: str, runtime: str
) -> dict[str, float]:
    """Return by how much the CPU time of a frame grows, decoded and encoded, when both go on.

    Args:
        videos: What is decoded, again and again.
        fps: Sampled frames a second.
        encoder: What encodes, on as many threads as there are cores.
        runtime: What runs it.
    """
    jobs: list[tuple[Load, tuple[Any, ...]]] = [
        (decoding, (videos, fps)),
        (encoding, (encoder, runtime)),
    ]
    decode, encode = (_cpu_seconds_of_frames([job])[0] for job in jobs)
    decode_beside, encode_beside = _cpu_seconds_of_frames(jobs)
    return {
        "decode_slower_side_by_side": decode_beside / decode,
        "encode_slower_side_by_side": encode_beside / encode,
        "both_slower_side_by_side": (decode_beside + encode_beside) / (decode + encode),
    }


def decoding(videos: Sequence[Path], fps: int) -> Callable[[], int]:
    """Return what decodes the sampled frames of all videos and converts them to RGB."""

    def work() -> int:
        every = (sample_frames(open_video(path, "pyav"), Fraction(fps), []) for path in videos)
        return sum(sum(1 for _ in frames) for frames in every)

    return work


def encoding(encoder: str, runtime: str) -> Callable[[], int]:
    """Return what encodes a few batches of noise on each core."""
    config = ExtractConfig(encoders=(encoder,), device="cpu", runtime=runtime)
    network = build_targets(config, None)[0].encoder
    shape = (BATCH, network.frames_per_window, 3, *network_size(network.preprocess))
    cores = len(os.sched_getaffinity(0))
    batches = [torch.randn(shape)] * (2 * cores)
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))

    def work() -> int:
        list(pool.map(network.encode, batches))
        return len(batches) * BATCH

    work()  # the first call compiles and allocates
    return work


def _cpu_seconds_of_frames(jobs: Sequence[tuple[Load, tuple[Any, ...]]]) -> list[float]:
    """Return the CPU-seconds of a frame of each, all of them at work at the same time."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(jobs))
    ends = [spawn.Pipe(duplex=False) for _ in jobs]
    processes = [
        spawn.Process(target=_repeat, args=(load, arguments, barrier, answer))
        for (load, arguments), (_, answer) in zip(jobs, ends, strict=True)
    ]
    for process in processes:
        process.start()
    found = [float(result.recv()) for result, _ in ends]
    for process in processes:
        process.join()
    return found


def _repeat(load: Load, arguments: tuple[Any, ...], barrier: Barrier, answer: Connection) -> None:
    work = load(*arguments)
    with freed_memory_kept():  # as in a run
        barrier.wait()
        until = time.perf_counter() + SECONDS
        started, frames = time.process_time(), 0
        while time.perf_counter() < until:
            frames += work()
        answer.send((time.process_time() - started) / frames)
        barrier.wait()  # the other one is still measured
