"""Extraction on a GPU: a run beside its decoding alone and its encoder alone.

Inputs are generated and networks have random weights. Every frame of 720p videos is encoded, so
that there is work for the GPU; how long a process takes to start cancels out, because a run of
some videos is taken from one of twice as many.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from benchmarks.extraction_inputs import (
    FRAMES_PER_SECOND,
    make_long_video,
    make_videos,
    save_image_network,
)
from extract import extract
from extract.config import ExtractConfig
from extract.decode.backends import open_video
from extract.decode.frames import GivesPlanes, SampledFrame, sample_frames
from extract.encode.encoders.base import Encoder
from extract.encode.network_input import network_input
from extract.encode.preprocess import network_size
from extract.pipeline.decode_stage import CHUNK_BYTES
from extract.plan.targets import build_targets
from extract.process_memory import freed_memory_kept

__all__ = ["ExtractionSizes", "decoding", "extraction", "timed"]

ROUNDS = 5
NVDEC_ENGINES = 7
"""Of an H100 or H200."""

SPARSE_FPS = Fraction(4)
"""What is usual for features; most frames are then decoded for their successors alone."""

Figures = dict[str, object]


@dataclass(frozen=True)
class ExtractionSizes:
    """How large everything is."""

    networks: dict[str, CLIPVisionConfig]
    clip_seconds: int
    """Of the videos that are made, each then put behind itself."""
    repeats: int
    batch: int
    workers: Sequence[int]
    """Numbers of processes to try; the smaller run has a video for each, but two at least."""

    @property
    def num_videos(self) -> int:
        """Of the larger run of the most processes."""
        return 2 * max(2, *self.workers)


def extraction(folder: Path, sizes: ExtractionSizes, device: torch.device) -> Figures:
    """Return frames per second of each network: alone, with resizing, and of runs."""
    videos = make_inputs(folder, sizes)
    every_frame = Fraction(FRAMES_PER_SECOND)
    decode = {
        number: side_by_side(videos[: 2 * number], every_frame, number) for number in sizes.workers
    }
    figures: Figures = {"decode_frames_per_second": decode}
    for name, network in sizes.networks.items():
        torch.manual_seed(0)
        where = save_image_network(folder / name, CLIPVisionModel(network))
        settings = {
            "device": device.type,
            "compute_dtype": "bfloat16",
            "batch_size": sizes.batch,
        }
        alone = rates_alone(videos[0], where, settings, device)
        runs = {
            number: run_rate(videos, where, settings, number, device) for number in sizes.workers
        }
        for number, run in runs.items():
            rate = run["frames_per_second"]
            run["vs_encoder"] = rate / alone["encoder"]
            run["wall_vs_limit"] = min(decode[number], alone["encoder"]) / rate
        figures[name] = {"alone": alone, "runs": runs}
    return figures


def make_inputs(folder: Path, sizes: ExtractionSizes) -> list[Path]:
    """Return as many videos as the largest run takes, made by the first part that asks."""
    if (folder / "videos").exists():
        return sorted((folder / "videos").iterdir())
    clips = make_videos(folder / "clips", "720p", sizes.clip_seconds)
    (folder / "videos").mkdir()
    paths = [folder / "videos" / f"{number:02}.mp4" for number in range(sizes.num_videos)]
    for clip, path in zip(clips, paths, strict=False):
        make_long_video(path, clip, sizes.repeats)
    for number, path in enumerate(paths[len(clips) :]):
        shutil.copy(paths[number % len(clips)], path)
    return paths


def rates_alone(
    video: Path, where: str, settings: dict[str, object], device: torch.device
) -> dict[str, float]:
    """Return frames per second of batches on the device, and of decoded frames in memory."""
    config = ExtractConfig(encoders=(where,), **settings)
    encoder = build_targets(config, None)[0].encoder
    shape = (config.batch_size, encoder.frames_per_window, 3, *network_size(encoder.preprocess))
    pixels_BFCHW = torch.randn(shape).to(encoder.device)
    frames = [next(frames_of(video, Fraction(FRAMES_PER_SECOND)))] * config.batch_size
    return {
        "encoder": config.batch_size / timed(lambda: encoder.encode(pixels_BFCHW), device),
        "resizing": config.batch_size / timed(lambda: resized(encoder, frames), device),
    }


def resized(encoder: Encoder, frames: Sequence[SampledFrame]) -> list[torch.Tensor]:
    """Copy frames to the device and prepare them for the network, chunk by chunk as in a run."""
    chunk = max(1, CHUNK_BYTES // frames[0].pixels.nbytes)
    return [
        pixels
        for start in range(0, len(frames), chunk)
        for pixels in network_input(encoder, frames[start : start + chunk])
    ]


def run_rate(
    videos: Sequence[Path], where: str, settings: dict[str, object], workers: int,
    device: torch.device,
) -> Figures:  # fmt: skip
    """Return frames per second between a run and one of twice as many videos."""
    taken, rows = [], []
    fewer = max(2, workers)
    for some in (videos[:fewer], videos[: 2 * fewer]):
        with tempfile.TemporaryDirectory() as folder:
            report = extract(
                some, Path(folder) / "f.zarr", encoders=[where], fps=FRAMES_PER_SECOND,
                workers=workers, **settings,
            )  # fmt: skip
        facts = report.summary()
        assert not facts["videos_failed"], facts["failures"]
        taken.append(float(facts["wall_seconds"]))
        rows.append(int(facts["rows"]))
    rate = (rows[1] - rows[0]) / (taken[1] - taken[0])
    figures: Figures = {"frames_per_second": rate, "start_seconds": taken[1] - rows[1] / rate}
    if device.type == "cuda":
        figures["gpu_seconds"] = facts["gpu_seconds"]
    return figures | {"busy_seconds": facts["busy_seconds"], "cpu_seconds": facts["cpu_seconds"]}


def decoding(folder: Path, sizes: ExtractionSizes) -> Figures:
    """Return sampled frames per second by CPU cores, and by the GPU's decoder if one can ask it."""
    videos = make_inputs(folder, sizes)
    number = max(sizes.workers)
    return {
        f"cpu_{number}_processes": side_by_side(videos, SPARSE_FPS, number),
        "cores": len(os.sched_getaffinity(0)),
        **nvdec(videos),
    }


def side_by_side(videos: Sequence[Path], fps: Fraction, processes: int) -> float:
    """Return sampled frames per second of processes that each decode videos."""
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_found) as pool:
        list(pool.map(time.sleep, [1.0] * processes))  # by then all have started
        started = time.perf_counter()
        counts = list(pool.map(decode_one, videos, [fps] * len(videos)))
        return sum(counts) / (time.perf_counter() - started)


def decode_one(video: Path, fps: Fraction) -> int:
    """Decode and copy the sampled frames of a video; return how many there are."""
    with freed_memory_kept():  # as in a run
        return sum(1 for _ in frames_of(video, fps))


def frames_of(video: Path, fps: Fraction) -> Iterator[SampledFrame]:
    """Return the sampled frames of a video, as a GPU gets them."""
    source = open_video(video, "pyav")
    assert isinstance(source, GivesPlanes)
    source.give_planes(partial(np.empty, dtype=np.uint8))
    return sample_frames(source, fps, [])


def _found() -> None:
    """Be found by a new process: with this module it imports all that decoding needs."""


def nvdec(videos: Sequence[Path]) -> Figures:
    """Return frames per second of torchcodec on the GPU, or why there are none."""
    try:
        return {
            f"nvdec_{number}_at_once_{fps}_fps": nvdec_rate(videos[:number], fps)
            for number in (1, len(videos[:NVDEC_ENGINES]))
            for fps in (FRAMES_PER_SECOND, int(SPARSE_FPS))
        }
    except (ImportError, RuntimeError, OSError, AssertionError) as error:
        return {"nvdec": f"not measured: {type(error).__name__}: {str(error).splitlines()[0]}"}


def nvdec_rate(videos: Sequence[Path], fps: int) -> float:
    """Return frames per second of several decoders side by side."""
    with ThreadPoolExecutor(len(videos)) as pool:
        started = time.perf_counter()
        counts = list(pool.map(decode_on_gpu, videos, [fps] * len(videos)))
        torch.cuda.synchronize()
        return sum(counts) / (time.perf_counter() - started)


def decode_on_gpu(video: Path, fps: int) -> int:
    """Have as many frames at once as a batch holds, and forget them; return how many there are."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(video), device="cuda")
    end = decoder.metadata.end_stream_seconds
    seconds = [number / fps for number in range(int(end * fps))]
    for start in range(0, len(seconds), 64):
        decoder.get_frames_played_at(seconds[start : start + 64])
    return len(seconds)


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of a call, after some that warm up."""
    taken = []
    for number in range(2 + ROUNDS):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            taken.append(time.perf_counter() - started)
    return median(taken)
