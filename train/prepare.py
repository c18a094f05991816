"""Put a run together from its settings: task, stream, samples, model.

Settings -> Prepared for training; a run's folder -> Trained for prediction.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.parsing import to_mapping
from cache_schema.store import open_store
from cache_schema.stream import Stream
from train.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    has_checkpoint,
    read_checkpoint,
    require_stream,
    samples_sha256,
)
from train.config import TrainConfig
from train.dataset import SampleRows, find_rows
from train.llm import LlmIdentity
from train.model import VideoLLM, build_model, load_trained
from train.tasks import load_task
from train.tasks.base import Task

__all__ = ["Prepared", "Trained", "hold_out", "load_trained_run", "make_task", "prepare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything a trainer works on."""

    config: TrainConfig
    task: Task
    stream: Stream
    model: VideoLLM
    train: list[SampleRows]
    holdout: list[SampleRows]
    """Training videos kept out to pick the best epoch; empty unless ``selection`` says so."""
    val: list[SampleRows]
    missing: list[str]
    """Annotated videos that are not in the stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A model as a run's best epoch left it."""

    checkpoint: Checkpoint
    task: Task
    stream: Stream
    model: VideoLLM


def make_task(config: TrainConfig) -> Task:
    """Load the task of a run with its options."""
    return load_task(config.task, Path(config.annotations), config.tasks.get(config.task, {}))


def prepare(
    config: TrainConfig, device: torch.device, resumed: Checkpoint | None = None
) -> Prepared:
    """Open, find and build everything a run needs, before anything is written.

    Args:
        config: Settings of the run.
        device: Where the model will run.
        resumed: Checkpoint to go on from; features, samples and LLM must be the same.

    Raises:
        PipelineError: if an input is missing or does not fit.
    """
    store = open_store(config.features)
    if resumed is None:
        stream = store.stream(config.stream or None)
    else:
        stream = require_stream(store, resumed, config.stream)
    task = make_task(config)
    train, holdout, missing = _training_rows(config, task, stream)
    if resumed is not None:
        _check_samples(train, resumed)
    found = find_rows(task, task.samples("val"), stream, allow_missing=config.allow_missing)
    return Prepared(
        config=config,
        task=task,
        stream=stream,
        model=_build(config, stream, task, device, resumed),
        train=train,
        holdout=holdout,
        val=found.rows,
        missing=[*missing, *found.missing],
    )


def load_trained_run(
    run: Path,
    features: Path,
    device: torch.device,
    *,
    stream_name: str = "",
    annotations: str = "",
    options: Mapping[str, object] | None = None,
) -> Trained:
    """Rebuild the model of a run's best epoch for features of the same recipe.

    Args:
        run: Folder of the run.
        features: Store with the videos to predict.
        device: Where the model will run.
        stream_name: Stream to read; empty looks for the recipe of the run.
        annotations: Where the annotations lie now; empty takes the run's.
        options: Task options that differ from the run's, such as the decoder.

    Raises:
        CheckpointError: if the run holds no checkpoint.
        RecipeMismatchError: naming every field in which the features differ.
    """
    folder = run / BEST if has_checkpoint(run / BEST) else run / LAST
    checkpoint, tensors, _ = read_checkpoint(folder)
    config = checkpoint.config
    if annotations:
        config = replace(config, annotations=annotations)
    if options:
        own = {**config.tasks.get(config.task, {}), **options}
        config = replace(config, tasks={**config.tasks, config.task: own})
    stream = require_stream(open_store(features), checkpoint, stream_name)
    task = make_task(config)
    model = _build(config, stream, task, device, checkpoint)
    load_trained(model, tensors, where=str(folder))
    return Trained(checkpoint=checkpoint, task=task, stream=stream, model=model.to(device))


def hold_out(
    samples: Sequence[SampleRows], fraction: float, seed: int
) -> tuple[list[SampleRows], list[SampleRows]]:
    """Split samples by video into those trained on and those held out.

    The videos with the smallest digests of (seed, id) are held out, at least one, so the choice
    does not depend on their order or on other videos' presence.
    """
    if fraction == 0:
        return list(samples), []
    videos = {rows.video_id for rows in samples}
    by_digest = sorted(videos, key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    held = set(by_digest[: math.ceil(fraction * len(videos))])
    if held == videos:
        raise ConfigError(
            f"data.holdout_fraction is {fraction}, which leaves none of {len(videos)} training "
            "videos. Lower it."
        )
    return (
        [rows for rows in samples if rows.video_id not in held],
        [rows for rows in samples if rows.video_id in held],
    )


def _training_rows(
    config: TrainConfig, task: Task, stream: Stream
) -> tuple[list[SampleRows], list[SampleRows], list[str]]:
    found = find_rows(task, task.samples("train"), stream, allow_missing=config.allow_missing)
    fraction = config.data.holdout_fraction if config.data.selection == "holdout" else 0.0
    train, holdout = hold_out(found.rows, fraction, config.seed)
    return train, holdout, found.missing


def _check_samples(train: Sequence[SampleRows], resumed: Checkpoint) -> None:
    if samples_sha256(train) != resumed.samples_sha256:
        raise CheckpointError(
            f"The {len(train)} training samples are not those of the run that is to be resumed: "
            "annotations, task options or videos in the store have changed. Start a new run with "
            "another --out."
        )


def _build(
    config: TrainConfig,
    stream: Stream,
    task: Task,
    device: torch.device,
    saved: Checkpoint | None,
) -> VideoLLM:
    """Build the model; with the LLM, in the dtype, that a saved run was trained against."""
    if saved is not None and saved.llm is not None:
        config = replace(config, llm=replace(config.llm, dtype=saved.llm.dtype))
    model = build_model(config, stream.row_shape, {task.name: task}, device)
    if saved is not None and model.llm is not None:
        _check_llm(model.llm.identity, saved.llm)
    return model


def _check_llm(got: LlmIdentity, expected: LlmIdentity | None) -> None:
    if got == expected:
        return
    left, right = to_mapping(got), to_mapping(expected) if expected else {}
    fields = [
        f"{key} = {left[key]}, not {right.get(key)}" for key in left if left[key] != right.get(key)
    ]
    raise CheckpointError(
        f"llm '{got.name}' is not the one the run was trained against: {'; '.join(fields)}. "
        "Get the same weights, or train a new run."
    )
