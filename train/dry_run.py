"""What a run would read, train and write, without doing it.

Works with what is given so far: without a store the counts are for rows of the default encoder,
without a task or its annotations there is no head.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cache_schema.derived.find import chosen_stream
from cache_schema.store import open_store
from train.checkpoints.folder import BEST, LAST
from train.checkpoints.result import METRICS, PAGE, REPORT
from train.config import TrainConfig
from train.data.fit import Fit, fits_json
from train.loop.logs import show_progress
from train.loop.parallel import make_accelerator
from train.loop.trainer import Trainer
from train.loop.validation import PREDICTIONS
from train.model.video_llm import VideoLLM, build_model, parameter_counts
from train.prepare import Prepared, answers_of, make_tasks, prepare
from train.runs import planned_folder
from train.tasks import task_class

__all__ = ["DryRun", "dry_run"]

ROW_SHAPE_WITHOUT_STORE = (1280,)
"""That of efficientnet_lite0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What a run would read, train and write."""

    trainable_parameters: dict[str, int]
    """Per part of the model: llm, translator, heads."""
    reads: Mapping[str, object]
    writes: list[str]
    steps: int | None
    """Optimizer steps; None if there is no store or task to tell."""
    fits: list[Fit] = field(default_factory=list)
    """Of each task's annotations, if there is a store to compare them with."""

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "trainable_parameters": self.trainable_parameters,
            "reads": self.reads,
            "writes": self.writes,
            "steps": self.steps,
            **fits_json(self.fits),
        }

    def text(self) -> str:
        """Return one line per fact."""
        counts = {f"trainable {k}": f"{v:,}" for k, v in self.trainable_parameters.items()}
        facts = {**self.reads, **counts, "steps": self.steps}
        width = max(map(len, facts))
        lines = [f"{name.ljust(width)}  {value}" for name, value in facts.items()]
        warnings = [f"warning: {one.text()}" for one in self.fits if one.num_misfits]
        return "\n".join([*lines, *warnings, "writes", *self.writes])


def dry_run(config: TrainConfig, *, resume: bool = False) -> DryRun:
    """Check every input that is given and build the model, but train and write nothing.

    Args:
        config: Settings of the run.
        resume: Whether the run would go on with the newest one.

    Raises:
        PipelineError: if an input is missing or does not fit.
    """
    accelerator = make_accelerator(config.device)
    show_progress(accelerator.is_main_process)
    folder = planned_folder(config, resume=resume)
    writes = [str(folder / name) for name in (LAST, BEST, PREDICTIONS, METRICS, REPORT, PAGE)]
    knows_heads = bool(config.task and config.annotations)
    if config.features and knows_heads:
        prepared = prepare(config, accelerator.device)
        steps = Trainer(prepared, accelerator, folder).num_steps
        report = _report(prepared.model, _reads(prepared), writes, steps)
        return replace(report, fits=prepared.fits)
    for name in config.task:
        task_class(name)
    tasks = make_tasks(config) if knows_heads else {}
    model = build_model(config, _row_shape(config), answers_of(tasks), accelerator.device)
    assumed = f"none given; rows of {ROW_SHAPE_WITHOUT_STORE[0]} values assumed"
    reads = {
        "features": config.features or assumed,
        "annotations": ", ".join(config.annotations) or "none given; heads not counted",
    }
    return _report(model, reads, writes, None)


def _row_shape(config: TrainConfig) -> tuple[int, ...]:
    if not config.features:
        return ROW_SHAPE_WITHOUT_STORE
    store = open_store(config.features)
    return chosen_stream(store, config.stream, config.data.rows_per_second).row_shape


def _report(
    model: VideoLLM, reads: Mapping[str, object], writes: list[str], steps: int | None
) -> DryRun:
    return DryRun(
        trainable_parameters=parameter_counts(model), reads=reads, writes=writes, steps=steps
    )


def _reads(prepared: Prepared) -> dict[str, object]:
    facts: dict[str, object] = {
        "features": prepared.config.features,
        "stream": prepared.stream.name,
    }
    for data, place in zip(prepared.tasks, prepared.config.annotations, strict=True):
        prefix = f"{data.task.facts.name} " if len(prepared.tasks) > 1 else ""
        facts[f"{prefix}annotations"] = place
        subsets = {"train": data.train, "holdout": data.holdout, "val": data.val}
        for name, rows in subsets.items():
            facts[f"{prefix}{name} samples"] = sum(len(one.samples) for one in rows)
            facts[f"{prefix}{name} rows"] = sum(one.num_rows for one in rows)
    return {**facts, "missing videos": len(prepared.missing)}
