"""What live prediction costs from the video file to the answer, with the embedded defaults.

EfficientNet-Lite0, SmolLM2 as trained by default, windows of 256 rows, a linear head of 50 classes
that nobody trained (the time does not depend on what it says). Used by ``benchmarks/stream.py``.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ViTConfig, ViTModel

from cache_schema.recipe import Recipe
from extract import LiveFeed, load_encoder, open_live
from train.answers.online_action_detection import (
    DetectionAnswers,
    DetectionKnowledge,
    OnlineActionDetectionOptions,
)
from train.config import TrainConfig
from train.model.video_llm import build_model
from train.stream.live import live_answers
from train.stream.row_stream import RowStream

TASK = "online_action_detection"
WARM_UP_SECONDS = 60.0
"""Memory is compared from here on: pools have grown, libraries have loaded."""

VIT_PREPROCESSING = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}

Image = NDArray[np.uint8]


class Chain:
    """A model and answers beside a feed of rows at some rate."""

    def __init__(self, fps: int) -> None:
        names = tuple(f"class {number}" for number in range(50))
        self.recipe: Recipe = load_encoder("efficientnet_lite0", fps=fps, device="cpu").recipe
        self.answers = DetectionAnswers(
            DetectionKnowledge(class_names=names), OnlineActionDetectionOptions()
        )
        config = TrainConfig()
        model = build_model(config, (1280,), {TASK: self.answers}, torch.device("cpu"))
        self.rows = RowStream(model, TASK, config.data, torch.float16, row_seconds=1 / fps)

    def run(self, feed: LiveFeed) -> Iterator[float]:
        """Yield the latency of each row in milliseconds."""
        for row in live_answers(self.rows, self.answers, feed, video="video"):
            yield row.latency_ms


def make_video(folder: Path) -> Path:
    """Return one video of the demo set: 48 s, 160 x 120, 15 frames a second."""
    sizes = ["--train-videos", "1", "--val-videos", "2"]
    subprocess.run([sys.executable, "-m", "demo.generate", str(folder), *sizes], check=True)
    return min((folder / "videos").iterdir())


def measure_rate(video: Path, fps: int) -> dict[str, object]:
    """Return what a rate of rows costs: as fast as can be, and while the video plays."""
    chain = Chain(fps)
    with open_live(chain.recipe, video, device="cpu") as feed:
        started = time.perf_counter()
        num_rows = sum(1 for _ in chain.run(feed))
        seconds = time.perf_counter() - started
    with open_live(chain.recipe, video, device="cpu", realtime=True) as feed:
        latencies = list(chain.run(feed))
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)).tolist()
    return {
        "rows_per_second": num_rows / seconds,
        "times_real_time": num_rows / seconds / fps,
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "dropped_rows": feed.counts.dropped_rows,
        "late_frames": feed.counts.late_frames,
    }


def measure_memory(video: Path, fps: int, minutes: float) -> dict[str, float]:
    """Return how the memory of this process grows over an endless source at full speed."""
    chain = Chain(fps)
    started = time.perf_counter()
    sizes: list[tuple[float, float]] = []
    with open_live(chain.recipe, endless(video), device="cpu") as feed:
        for _ in chain.run(feed):
            now = time.perf_counter() - started
            sizes.append((now, resident_mb()))
            if now > 60 * minutes:
                break
    first = median(mb for at, mb in sizes if WARM_UP_SECONDS <= at < WARM_UP_SECONDS + 10)
    last = median(mb for at, mb in sizes if at >= sizes[-1][0] - 10)
    hours = (sizes[-1][0] - WARM_UP_SECONDS) / 3600
    return {
        "minutes": minutes,
        "rows": len(sizes),
        "rss_mb_after_1_minute": first,
        "rss_mb_at_the_end": last,
        "rss_growth_mb_per_hour": (last - first) / hours,
        "rss_growth_mb_per_hour_of_video": (last - first) / (len(sizes) / fps / 3600),
    }


def measure_vit(folder: Path, device: str, num_frames: int) -> dict[str, object]:
    """Return how many frames a second a ViT-B/16 in bfloat16 encodes one by one.

    Its weights are random: the time does not depend on them. Frames of 640 x 360 lie in memory, so
    this is preprocessing and the network.
    """
    ViTModel(ViTConfig()).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(VIT_PREPROCESSING))
    settings: dict[str, Any] = {"fps": 2, "device": device, "compute_dtype": "bfloat16"}
    recipe = load_encoder(str(folder), **settings).recipe
    frames = np.random.default_rng(0).integers(256, size=(8, 360, 640, 3)).astype(np.uint8)
    with open_live(recipe, cycle(frames), encoder=str(folder), device=device) as feed:
        rows = iter(feed)
        for _ in islice(rows, num_frames // 4):
            pass
        started = time.perf_counter()
        for _ in islice(rows, num_frames):
            pass
        seconds = time.perf_counter() - started
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"device": name, "frames_per_second": num_frames / seconds}


def endless(video: Path) -> Iterator[Image]:
    """Yield the frames of a video again and again."""
    while True:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def resident_mb() -> float:
    """Return the memory of this process that lies in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
