"""Put a run together from its settings: tasks, stream, samples, model.

Settings -> Prepared, all that a trainer works on.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from cache_schema.derived.find import chosen_stream
from cache_schema.errors import CheckpointError, ConfigError
from cache_schema.object_backend.disk_cache import DiskCache
from cache_schema.parsing import to_mapping
from cache_schema.place import to_place
from cache_schema.store import open_store
from cache_schema.stream import Stream
from train.annotations.part import PartOfVal
from train.checkpoints.checkpoint import require_stream, samples_sha256
from train.checkpoints.record import Checkpoint
from train.config import TrainConfig
from train.data.durations import compare_durations
from train.data.fit import Fit
from train.data.held_out import held_out, some_videos
from train.data.named_videos import refuse_second_names
from train.data.record_ends import record_ends_beyond
from train.data.samples import SampleRows, find_rows
from train.feature_cache import feature_cache
from train.model.identity import LlmIdentity
from train.model.trained_weights import pretrained_identities
from train.model.video_llm import VideoLLM, build_model
from train.start_from import start_from
from train.task import Sample
from train.tasks import AnyAnswers, AnyTask, load_task

__all__ = [
    "ChecksScoring",
    "Prepared",
    "TaskData",
    "answers_of",
    "build",
    "labels_of",
    "make_tasks",
    "prepare",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """One task of a run and its samples."""

    task: AnyTask
    train: list[SampleRows]
    holdout: list[SampleRows]
    """Training videos kept out to pick the best epoch; empty unless ``selection`` says so."""
    val: list[SampleRows]
    watched: tuple[AnyTask, list[SampleRows]]
    """What is evaluated while training: the task and its validation samples, or a part of them."""
    missing: list[str]
    """Annotated videos that are not in the stream."""
    fits: tuple[Fit, ...]
    """Which times in the annotations the rows do not bear out."""
    weight: float = 1.0
    """How often an epoch shows the training rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything a trainer works on."""

    config: TrainConfig
    stream: Stream
    cache: DiskCache | None
    """Where the rows of a store in a bucket are kept; None for a store on this machine."""
    model: VideoLLM
    tasks: list[TaskData]
    """One or more, in the order of the settings."""

    @property
    def missing(self) -> list[str]:
        """Annotated videos of any task that are not in the stream."""
        return list(dict.fromkeys(video for data in self.tasks for video in data.missing))

    @property
    def fits(self) -> list[Fit]:
        """Which times in each task's annotations the rows do not bear out."""
        return [fit for data in self.tasks for fit in data.fits]


@runtime_checkable
class ChecksScoring(Protocol):
    """A task that can tell before training whether its validation videos can be scored."""

    def check_scoring(self) -> None:
        """Refuse what ``score`` would refuse whatever is predicted.

        Raises:
            AnnotationError: if there is nothing to score.
        """


def make_tasks(config: TrainConfig) -> dict[str, AnyTask]:
    """Load the tasks of a run with their options."""
    return {
        name: load_task(name, Path(annotations), config.tasks.get(name, {}))
        for name, annotations in zip(config.task, config.annotations, strict=True)
    }


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
    cache = feature_cache(config)
    store = open_store(config.features, cache=cache)
    if to_place(config.features) != store.path:
        logger.info("%s lies in %s", config.features, store.path)
    if resumed is None:
        stream = chosen_stream(store, config.stream, config.data.rows_per_second)
    else:
        stream = require_stream(store, resumed, config.stream)
    tasks = make_tasks(config)
    data = [_task_data(config, task, stream) for task in tasks.values()]
    if resumed is not None:
        _check_samples(data, resumed)
    model = build(
        config, stream.row_shape, answers_of(tasks), device, resumed, widths=stream.widths
    )
    if config.start_from and resumed is None:
        start_from(config, model, stream, labels_of(answers_of(tasks).values()))
    model.name_queries(_samples(data))
    for one in data:
        if one.watched[0] is not one.task:
            one.watched[0].answers.adopt(one.task.answers)  # from here on its head is built
    return Prepared(config=config, stream=stream, cache=cache, model=model, tasks=data)


def answers_of(tasks: Mapping[str, AnyTask]) -> dict[str, AnyAnswers]:
    """Return the halves that a model is built from."""
    return {name: task.answers for name, task in tasks.items()}


def labels_of(answers: Iterable[AnyAnswers]) -> dict[str, dict[str, list[str]]]:
    """Return task -> output of its head -> name of each class."""
    return {
        one.facts.name: {output: list(names) for output, names in one.labels().items()}
        for one in answers
    }


def _watched(
    config: TrainConfig, task: AnyTask, val: list[SampleRows]
) -> tuple[AnyTask, list[SampleRows]]:
    if config.evaluate_fraction == 1:
        return task, val
    some = some_videos({rows.video_id for rows in val}, config.evaluate_fraction, config.seed)
    part = [rows for rows in val if rows.video_id in some]
    if not type(task.source).__module__.startswith("train."):
        raise ConfigError(
            f"evaluate_fraction is {config.evaluate_fraction}, but the annotations of "
            f"{task.facts.name}, which another package reads, cannot be taken apart. Set it to 1."
        )
    names = {sample.video_id for rows in part for sample in rows.samples}
    return type(task)(PartOfVal(task.source, names), task.options), part


def _task_data(config: TrainConfig, task: AnyTask, stream: Stream) -> TaskData:
    settings: dict[str, Any] = {
        "rows_per_token": config.data.rows_per_token,
        "allow_missing": config.allow_missing,
        "shares_rows": task.facts.shares_rows,
    }
    train_samples, val_samples = task.samples("train"), task.samples("val")
    # First: a sample that lies behind its video as a whole would be told to be missing.
    name, samples = task.facts.name, [*train_samples, *val_samples]
    refuse_second_names(samples, stream)
    fits = (
        record_ends_beyond(name, samples, stream),
        compare_durations(name, samples, stream),
    )
    found = find_rows(train_samples, stream, **settings)
    held = held_out(config.data, {rows.video_id for rows in found.rows}, config.seed)
    val = find_rows(val_samples, stream, **settings)
    watched = _watched(config, task, val.rows)
    for one in (task, watched[0]):
        if isinstance(one, ChecksScoring):
            one.check_scoring()
    return TaskData(
        task=task,
        train=[rows for rows in found.rows if rows.video_id not in held],
        holdout=[rows for rows in found.rows if rows.video_id in held],
        val=val.rows,
        watched=watched,
        missing=[*found.missing, *val.missing],
        fits=fits,
        weight=config.weights.get(task.facts.name, 1.0),
    )


def _samples(data: Sequence[TaskData]) -> Iterator[Sample]:
    for one in data:
        for rows in (*one.train, *one.holdout, *one.val):
            yield from rows.samples


def _check_samples(data: Sequence[TaskData], resumed: Checkpoint) -> None:
    train = [rows for one in data for rows in one.train]
    if samples_sha256(train) != resumed.samples_sha256:
        raise CheckpointError(
            f"The {len(train)} training samples are not those of the run that is to be resumed: "
            "annotations, task options or videos in the store have changed. Start a new run with "
            "another --out."
        )


def build(
    config: TrainConfig,
    row_shape: tuple[int, ...],
    tasks: Mapping[str, AnyAnswers],
    device: torch.device,
    saved: Checkpoint | None,
    *,
    widths: Sequence[int] = (),
) -> VideoLLM:
    """Build the model; with the networks, in the dtype, that a saved run was trained against.

    Args:
        config: Settings of the run.
        row_shape: Shape of a stored row.
        tasks: Task name -> what its head says.
        device: Where it will run.
        saved: What the run has saved, if it goes on or is only asked.
        widths: Of each stream that is a part of the rows, for training on several.
    """
    if saved is not None and "llm" in saved.pretrained:
        config = replace(config, llm=replace(config.llm, dtype=saved.pretrained["llm"].dtype))
    model = build_model(config, row_shape, tasks, device, widths=widths)
    if saved is not None:
        for path, got in pretrained_identities(model).items():
            _check_network(path, got, saved.pretrained.get(path))
    return model


def _check_network(path: str, got: LlmIdentity, expected: LlmIdentity | None) -> None:
    if got == expected:
        return
    left, right = to_mapping(got), to_mapping(expected) if expected else {}
    fields = [
        f"{key} = {left[key]}, not {right.get(key)}" for key in left if left[key] != right.get(key)
    ]
    raise CheckpointError(
        f"{path} '{got.name}' is not the one the run was trained against: {'; '.join(fields)}. "
        "Get the same weights, or train a new run."
    )
