"""An epoch of the demo from its features, beside one that would decode and encode again.

The demo's videos, encoder, task and settings, fewer videos and epochs. An epoch without the store
costs its steps and its extraction; with the store, only the first does (``train.pages.payback``).
"""

import json
import time
from itertools import count
from pathlib import Path
from statistics import median

from cache_schema.cost import read_costs
from demo.folder import write_demo
from demo.truth import DemoSpec
from extract import extract
from train.checkpoints.result import METRICS
from train.config import OptimConfig, TrainConfig
from train.pages.payback import EpochsRead, payback
from train.run import train

VAL_VIDEOS = 2


def measure(folder: Path, train_videos: int, epochs: int) -> dict[str, object]:
    """Return seconds of extraction and of an epoch, and how many epochs pay for the store."""
    spec = DemoSpec(train_videos=train_videos, val_videos=VAL_VIDEOS)
    for _ in write_demo(folder / "set", spec):
        pass
    store = folder / "demo.zarr"
    started = time.perf_counter()
    extract(folder / "set" / "videos", store, fps=4, device="cpu")
    command = time.perf_counter() - started
    (cost,) = read_costs(store)
    config = TrainConfig(
        task=("action_segmentation",),
        annotations=(str(folder / "set" / "annotations" / "action_segmentation"),),
        features=str(store),
        out=str(folder / "demo-run"),
        device="cpu",
        optim=OptimConfig(epochs=epochs, lr=0.003),
    )
    train(config, resume=False)
    cached = epoch_seconds(folder / "demo-run")
    return {
        "videos": train_videos + VAL_VIDEOS,
        "extraction_seconds": cost.wall_seconds,
        "extraction_seconds_with_start": command,
        "busy_seconds": dict(cost.busy_seconds),
        "store_bytes": sum(path.stat().st_size for path in store.rglob("*") if path.is_file()),
        "epoch_seconds_cached": cached,
        "epoch_seconds_end_to_end": cached + cost.wall_seconds,
        "end_to_end_vs_cached": (cached + cost.wall_seconds) / cached,
        "epochs_until_paid": epochs_until_paid(cost.wall_seconds),
    }


def epoch_seconds(run: Path) -> float:
    """Return the median seconds of an epoch's steps and evaluation."""
    lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    evaluated = [line["evaluation_seconds"] for line in lines if line["kind"] == "epoch"]
    steps = [
        sum(line["seconds"] for line in lines if line["kind"] == "train" and line["epoch"] == epoch)
        for epoch in range(1, len(evaluated) + 1)
    ]
    return median(a + b for a, b in zip(steps, evaluated, strict=True))


def epochs_until_paid(extraction_seconds: float) -> int:
    """Return the first epoch by whose end the store has saved what it cost."""
    for epochs in count(1):
        saved = payback(extraction_seconds, [EpochsRead(epochs=epochs, share=1.0)])
        if saved is not None and saved.times >= 1:
            return epochs
    raise AssertionError("count() does not end")
