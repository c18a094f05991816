"""What runs cost: the extraction of their rows, once, and the training on them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cache_schema.cost import ExtractionCost
from train.pages.payback import EpochsRead, Payback, payback
from train.pages.run_facts import RunFacts

__all__ = ["CacheUse", "ExtractionTotal", "TrainingCost", "cache_uses", "training_cost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionTotal:
    """All runs of vllm-extract that filled a stream; what they left there for others counts too."""

    streams: list[str]
    """Filled by the same decoding: their share of the time cannot be told apart."""
    num_videos: int
    num_rows: int
    video_seconds: float
    wall_seconds: float
    """Of machines: those side by side are added up."""
    busy_seconds: dict[str, float]
    """Stage -> seconds; stages overlap."""
    devices: list[str]
    energy_joules: float | None
    """None unless all of them were measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCost:
    """One run of vllm-train; None where its folder does not say."""

    epochs: int
    steps: int
    rows: int
    """Shown to the LLM: visual tokens."""
    step_seconds: float
    waiting_share: float | None
    """Of the seconds of steps, for data."""
    rows_per_second: float | None
    evaluation_seconds: float | None
    """At the ends of epochs."""
    start_up_seconds: float | None
    """Of the last turn."""
    scoring_seconds: float | None
    """Of the best checkpoint, at the end."""
    device: str | None
    num_processes: int | None
    energy_joules: float | None
    """Of the epochs of the last turn."""

    @property
    def epoch_seconds(self) -> float | None:
        """T: steps and evaluation of one epoch; None before the first one has ended."""
        total = self.step_seconds + (self.evaluation_seconds or 0.0)
        return total / self.epochs if self.epochs else None

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {**asdict(self), "epoch_seconds": self.epoch_seconds}


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUse:
    """Runs that read rows of one extraction."""

    runs: list[str]
    """Those that have not ended too, whose epochs do not count yet."""
    extraction: ExtractionTotal
    payback: Payback | None
    """None while no run has ended: what an epoch reads is noted then."""

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        values = asdict(self)
        if self.payback is not None:
            values["payback"]["times"] = self.payback.times
        return values


def training_cost(run: RunFacts) -> TrainingCost:
    """Return what a run has cost so far, over all its turns."""
    seconds, rows = float(run.log.seconds_S.sum()), int(run.log.rows_S.sum())
    return TrainingCost(
        epochs=len(run.log.epochs),
        steps=run.log.num_steps,
        rows=rows,
        step_seconds=seconds,
        waiting_share=float(run.log.waits_S.sum()) / seconds if seconds else None,
        rows_per_second=rows / seconds if seconds else None,
        evaluation_seconds=run.log.evaluation_seconds,
        start_up_seconds=run.result.seconds.start_up if run.result else None,
        scoring_seconds=run.result.seconds.scoring if run.result else None,
        device=run.result.machine.device if run.result else None,
        num_processes=run.result.machine.num_processes if run.result else None,
        energy_joules=run.result.energy_joules if run.result else None,
    )


def cache_uses(runs: Sequence[RunFacts]) -> list[CacheUse]:
    """Return the extractions that are known, each with all runs that read its rows."""
    groups: dict[tuple[str, str], list[RunFacts]] = {}
    for run in runs:
        if run.extraction and run.checkpoint is not None:
            # Costs are only added to a store's list, so its first one tells it from other stores.
            key = run.checkpoint.recipe.fingerprint, repr(run.extraction[0])
            groups.setdefault(key, []).append(run)
    return [_cache_use(group) for group in groups.values()]


def _cache_use(runs: Sequence[RunFacts]) -> CacheUse:
    # The store may have grown between the runs: the longest list is the newest.
    total = _total(max((run.extraction for run in runs), key=len))
    reads = [
        EpochsRead(
            epochs=len(run.log.epochs),
            share=run.result.rows.read_per_epoch / run.result.rows.in_stream,
        )
        for run in runs
        if run.result is not None
    ]
    return CacheUse(
        runs=[run.name for run in runs],
        extraction=total,
        payback=payback(total.wall_seconds, reads) if reads else None,
    )


def _total(costs: Sequence[ExtractionCost]) -> ExtractionTotal:
    stages = dict.fromkeys(stage for cost in costs for stage in cost.busy_seconds)
    joules = [cost.energy_joules for cost in costs]
    return ExtractionTotal(
        streams=list(dict.fromkeys(stream for cost in costs for stream in cost.streams)),
        num_videos=sum(cost.num_videos for cost in costs),
        num_rows=sum(cost.num_rows for cost in costs),
        video_seconds=sum(cost.video_seconds for cost in costs),
        wall_seconds=sum(cost.wall_seconds for cost in costs),
        busy_seconds={
            stage: sum(cost.busy_seconds.get(stage, 0.0) for cost in costs) for stage in stages
        },
        devices=list(dict.fromkeys(cost.device for cost in costs)),
        energy_joules=None if None in joules else sum(one for one in joules if one is not None),
    )
