"""A trained run, put together again: its folder -> model, tasks and the stream it can read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.parsing import nearest
from cache_schema.store import open_store
from cache_schema.stream import Stream
from train.checkpoints.checkpoint import (
    BEST,
    LAST,
    Labels,
    has_checkpoint,
    read_checkpoint,
    require_stream,
)
from train.checkpoints.record import Checkpoint
from train.config import TrainConfig
from train.model.video_llm import VideoLLM, load_trained
from train.prepare import build, labels_of, make_tasks
from train.task import Task

__all__ = ["Trained", "load_trained_run", "the_task"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A model as a run's best epoch left it."""

    checkpoint: Checkpoint
    tasks: dict[str, Task]
    stream: Stream
    model: VideoLLM


def load_trained_run(
    run: Path,
    features: Path,
    device: torch.device,
    *,
    stream_name: str = "",
    task_name: str = "",
    annotations: str = "",
    options: Mapping[str, object] | None = None,
) -> Trained:
    """Rebuild the model of a run's best epoch for features of the same recipe.

    Args:
        run: Folder of the run.
        features: Store with the videos to predict.
        device: Where the model will run.
        stream_name: Stream to read; empty looks for the recipe of the run.
        task_name: Task that annotations and options are for; may be empty if the run has one.
        annotations: Where its annotations lie now; empty takes the run's.
        options: Its options that differ from the run's, such as the decoder.

    Raises:
        CheckpointError: if the run holds no checkpoint.
        ConfigError: if the run has not learned the task, or several and none is named.
        RecipeMismatchError: naming every field in which the features differ.
    """
    folder = run / BEST if has_checkpoint(run / BEST) else run / LAST
    checkpoint, state = read_checkpoint(folder)
    config = _for_prediction(checkpoint.config, task_name, annotations, options or {})
    stream = require_stream(open_store(features), checkpoint, stream_name)
    tasks = make_tasks(config)
    _check_labels(labels_of(tasks.values()), state.labels, where=str(folder))
    model = build(config, stream.row_shape, tasks, device, checkpoint)
    load_trained(model, state.weights, where=str(folder))
    return Trained(checkpoint=checkpoint, tasks=tasks, stream=stream, model=model.to(device))


def _check_labels(own: Labels, saved: Labels, *, where: str) -> None:
    """Check that class numbers still mean what they did in training."""
    for task, outputs in saved.items():
        for output, names in outputs.items():
            got = list(own[task].get(output, ()))
            if got != list(names):
                place = next(
                    (i for i, pair in enumerate(zip(got, names)) if pair[0] != pair[1]),  # noqa: B905
                    min(len(got), len(names)),
                )
                raise CheckpointError(
                    f"{where}: the annotations of {task} number the classes of '{output}' "
                    f"otherwise than those of the training run: {len(got)} classes, not "
                    f"{len(names)}; the first that differs is number {place}. Predict with "
                    "annotations that list the same classes."
                )


def the_task(config: TrainConfig, name: str) -> str:
    """Return the task to predict: the named one, or the only one.

    Raises:
        ConfigError: if the run has not learned it, or has several and none is named.
    """
    if name in config.task:
        return name
    if name:
        raise ConfigError(f"The run has not learned task '{name}'. {nearest(name, config.task)}")
    if len(config.task) > 1:
        raise ConfigError(f"The run has learned {', '.join(config.task)}. Choose with --task.")
    return config.task[0]


def _for_prediction(
    config: TrainConfig, task_name: str, annotations: str, options: Mapping[str, object]
) -> TrainConfig:
    name = the_task(config, task_name)
    if annotations:
        places = dict(zip(config.task, config.annotations, strict=True)) | {name: annotations}
        config = replace(config, annotations=tuple(places.values()))
    own = {**config.tasks.get(name, {}), **options}
    return replace(config, tasks={**config.tasks, name: own})
