"""Extraction on a GPU: a run beside its decoding alone and its encoder alone.

Inputs are generated and networks have random weights. Every frame is encoded, so that there is
work for the GPU. What a run makes is looked at in its middle, when all processes have started and
none has ended.
"""

import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median

import click
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from benchmarks.decoding_alone import frames_of, frames_per_second
from benchmarks.extraction_inputs import (
    FRAMES_PER_SECOND,
    make_long_video,
    make_videos,
    save_image_network,
)
from extract import extract
from extract.config import ExtractConfig
from extract.decode.frame_slots import FrameSlots, new_slots
from extract.decode.frames import SampledFrame
from extract.encode.batching import EncodeQueue
from extract.encode.cpu_threads import EncodeThreads, threads_for
from extract.encode.encoders.base import Encoder
from extract.encode.gpu.page_locked import lock_pages
from extract.encode.network_input import network_input
from extract.encode.preprocess import network_size
from extract.encode.windows import WindowAssembler
from extract.pipeline.decode_stage import CHUNK_BYTES
from extract.plan.targets import build_targets

__all__ = ["ExtractionSizes", "decoding", "extraction", "report", "timed"]

ROUNDS = 5
NVDEC_ENGINES = 7
"""Of an H100 or H200."""

BATCHES_AT_ONCE = 40
"""Where nothing is decoded; for less time a GPU may run faster than it can for long."""

MIDDLE = (0.2, 0.8)
"""Of a run's frames."""

SPARSE_FPS = Fraction(4)
"""What is usual for features; most frames are then decoded for their successors alone."""

Figures = dict[str, object]


@dataclass(frozen=True)
class ExtractionSizes:
    """How large everything is."""

    networks: dict[str, CLIPVisionConfig]
    clip_seconds: int
    """Of the videos that are made, each then put behind itself."""
    repeats: dict[str, int]
    """Of each size of frames: how often."""
    batch: int
    workers: Sequence[int]
    """Numbers of processes to try; a run has two videos for each, but four at least."""

    @property
    def num_videos(self) -> int:
        """Of the run of the most processes."""
        return 2 * max(2, *self.workers)


def extraction(folder: Path, sizes: ExtractionSizes, device: torch.device) -> Figures:
    """Return frames per second of each network: alone, of all but decoding, and of runs."""
    saved = {}
    for name, network in sizes.networks.items():
        torch.manual_seed(0)
        saved[name] = save_image_network(folder / name, CLIPVisionModel(network))
    return {size: of_one_size(folder, sizes, size, saved, device) for size in sizes.repeats}


def of_one_size(
    folder: Path, sizes: ExtractionSizes, size: str, saved: dict[str, str], device: torch.device
) -> Figures:
    """Return the figures of videos with frames of one size."""
    videos = make_inputs(folder, sizes, size)
    every_frame = Fraction(FRAMES_PER_SECOND)
    decode = {
        number: frames_per_second(videos[: 2 * number], every_frame, number)
        for number in sizes.workers
    }
    figures: Figures = {"decode_frames_per_second": decode}
    report(f"{size} decode", decode)
    settings = {"device": device.type, "compute_dtype": "bfloat16", "batch_size": sizes.batch}
    for name, where in saved.items():
        alone = rates_alone(videos[0], where, settings, device)
        report(f"{size} {name} alone", alone)
        runs = {}
        for number in sizes.workers:
            run = run_rate(videos, where, settings, number, device)
            rate = run["frames_per_second"]
            run["vs_encoder"] = rate / alone["encoder"]
            run["wall_vs_limit"] = min(decode[number], alone["encoder"]) / rate
            runs[number] = run
            report(f"{size} {name} {number} processes", run)
        figures[name] = {"alone": alone, "runs": runs}
    return figures


def report(what: str, figures: object) -> None:
    """Show figures as soon as there are some."""
    click.echo(f"{what}: {json.dumps(figures)}", err=True)


def make_inputs(folder: Path, sizes: ExtractionSizes, size: str) -> list[Path]:
    """Return as many videos as the largest run takes, made by the first part that asks."""
    place = folder / size
    if place.exists():
        return sorted(place.iterdir())
    clips = make_videos(folder / f"clips {size}", size, sizes.clip_seconds)
    place.mkdir()
    paths = [place / f"{number:02}.mp4" for number in range(sizes.num_videos)]
    for clip, path in zip(clips, paths, strict=False):
        make_long_video(path, clip, sizes.repeats[size])
    for number, path in enumerate(paths[len(clips) :]):
        shutil.copy(paths[number % len(clips)], path)
    return paths


def rates_alone(
    video: Path, where: str, settings: dict[str, object], device: torch.device
) -> dict[str, float]:
    """Return frames per second of the encoder alone, and of all that a run does but decode."""
    config = ExtractConfig(encoders=(where,), **settings)
    encoder = build_targets(config, None)[0].encoder
    shape = (config.batch_size, encoder.frames_per_window, 3, *network_size(encoder.preprocess))
    pixels_BFCHW = torch.randn(shape).to(encoder.device)
    frames = decoded_chunk(video, device)
    chunks = -(-BATCHES_AT_ONCE * config.batch_size // len(frames))
    return {
        "encoder": BATCHES_AT_ONCE
        * config.batch_size
        / timed(lambda: encode_again(encoder, pixels_BFCHW), device),
        "all_but_decoding": chunks
        * len(frames)
        / timed(lambda: encode_chunks(encoder, [frames] * chunks, config.batch_size), device),
    }


def encode_again(encoder: Encoder, pixels_BFCHW: torch.Tensor) -> None:
    """Encode a batch that lies ready, again and again."""
    for _ in range(BATCHES_AT_ONCE):
        encoder.encode(pixels_BFCHW)


def decoded_chunk(video: Path, device: torch.device) -> list[SampledFrame]:
    """Return frames as they come from a decoding process, as many as travel together."""
    descriptor = new_slots()
    theirs, ours = FrameSlots(descriptor), FrameSlots(descriptor)
    os.close(descriptor)
    if device.type == "cuda" and ours.memory is not None:
        lock_pages(ours.memory, device)
    frame = next(frames_of(video, Fraction(FRAMES_PER_SECOND)))
    slots = [theirs.put(frame.pixels) for _ in range(max(1, CHUNK_BYTES // frame.pixels.nbytes))]
    return [
        replace(frame, pixels=ours.take(slot, frame.pixels.shape))
        for slot in slots
        if slot is not None
    ]


def encode_chunks(
    encoder: Encoder, chunks: Sequence[Sequence[SampledFrame]], batch_size: int
) -> None:
    """Make rows of frames as a run does."""
    windows = WindowAssembler(encoder.frames_per_window, encoder.frames_per_window)
    with EncodeThreads(threads_for(1)) as threads:
        queue = EncodeQueue[None](encoder, threads, batch_size, "float16")
        for chunk in chunks:
            for pixels_CHW in network_input(encoder, chunk, threads.map, threads.gpu_clock):
                for window_FCHW in windows.push(pixels_CHW, 1):
                    deque(queue.push(None, window_FCHW), maxlen=0)
        deque(queue.flush(), maxlen=0)


def run_rate(
    videos: Sequence[Path], where: str, settings: dict[str, object], workers: int,
    device: torch.device,
) -> Figures:  # fmt: skip
    """Return frames per second in the middle of a run of two videos for each process."""
    seen: list[tuple[float, float]] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = extract(
            videos[: 2 * max(2, workers)], Path(folder) / "f.zarr", encoders=[where],
            fps=FRAMES_PER_SECOND, workers=workers, **settings,
            progress=lambda now: seen.append((time.perf_counter(), now.done_seconds)),
        )  # fmt: skip
    facts = report.summary()
    assert not facts["videos_failed"], facts["failures"]
    figures: Figures = {
        "frames_per_second": FRAMES_PER_SECOND * rate_in_the_middle(seen),
        "start_seconds": seen[0][0] - started,
    }
    if device.type == "cuda":
        figures["gpu_seconds"] = facts["gpu_seconds"]
    return figures | {"busy_seconds": facts["busy_seconds"], "cpu_seconds": facts["cpu_seconds"]}


def rate_in_the_middle(seen: Sequence[tuple[float, float]]) -> float:
    """Return how much was done a second between two shares of all, of pairs of time and done."""
    least, most = (share * seen[-1][1] for share in MIDDLE)
    inside = [(now, done) for now, done in seen if least <= done <= most]
    (began, done_then), (ended, done_since) = inside[0], inside[-1]
    return (done_since - done_then) / (ended - began)


def decoding(folder: Path, sizes: ExtractionSizes) -> Figures:
    """Return sampled frames per second by CPU cores, and by the GPU's decoder if one can ask it."""
    videos = make_inputs(folder, sizes, "720p")
    number = max(sizes.workers)
    return {
        f"cpu_{number}_processes": frames_per_second(videos, SPARSE_FPS, number),
        "cores": len(os.sched_getaffinity(0)),
        **nvdec(videos),
    }


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
