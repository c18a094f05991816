"""One run of ``vllm-extract``: find, plan, extract here or on workers, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cache_schema.store import Store, StoreWriter, create_store, is_hdf5, open_store
from extract.config import ExtractConfig
from extract.encode.cpu_threads import threads_for
from extract.pipeline.extractor import extract_videos
from extract.plan.committed import CommittedVideos
from extract.plan.jobs import Plan, plan_jobs
from extract.plan.remaining import Remaining
from extract.plan.targets import Target, build_targets, streams_of
from extract.report.ledger import Ledger
from extract.report.progress import Progress, ProgressCounter
from extract.report.run_report import RunReport
from extract.sources.shards import Shard, refuse_shards, shard_of
from extract.sources.videos import find_videos
from extract.workers.config import ClusterConfig

__all__ = ["RunOptions", "run_extraction"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line and the settings ask for."""

    inputs: tuple[str, ...]
    out: Path
    config: ExtractConfig
    cluster: str | None
    """``slurm``, the address of a dask scheduler, or None for this machine."""
    cluster_config: ClusterConfig
    shard: Shard | None
    retry_failed: bool
    dry_run: bool
    hides_progress: bool
    """Shows no bar."""
    progress: Callable[[Progress], object] = lambda progress: None
    """Told of every bit of work that was done."""


def run_extraction(options: RunOptions, *, tell: Callable[[str], object]) -> RunReport:
    """Bring all videos into the store; what is there is skipped.

    Args:
        options: The run.
        tell: Called with lines for the user that are no part of the summary.
    """
    if options.shard is not None:
        refuse_shards(options.out, options.shard.count)
    store = open_store(options.out) if options.out.exists() else None
    targets = build_targets(options.config, store)
    ledger = Ledger(options.out)
    plan = _plan(options, store, streams_of(targets), ledger)
    report = RunReport(
        store=str(options.out),
        streams=streams_of(targets),
        num_skipped=plan.num_complete,
        failed_before=plan.failed_before,
        shard=str(options.shard) if options.shard else None,
    )
    if options.dry_run:
        report.note(plan.failures)
        tell(_describe(plan, report.streams))
        return report
    for wanted, stored in plan.moved:
        tell(f"{wanted}: is stored as '{stored}' (same content, moved).")
    writer = create_store(options.out)
    try:
        report.ledger = ledger
        report.note(plan.failures)
        if plan.jobs:
            _extract(plan, targets, writer, options, report)
    finally:
        writer.close()
    return report


def _plan(options: RunOptions, store: Store | None, streams: Sequence[str], ledger: Ledger) -> Plan:
    everything = find_videos(options.inputs)
    videos = shard_of(everything, options.shard) if options.shard else everything
    hidden = options.hides_progress
    return plan_jobs(
        videos,
        streams,
        store,
        lambda items: tqdm(items, "looking", total=len(videos), unit=" video", disable=hidden),
        wanted={video.id for video in everything},
        ledger={} if options.retry_failed else ledger.latest(),
    )


def _extract(
    plan: Plan, targets: list[Target], writer: StoreWriter, options: RunOptions, report: RunReport
) -> None:
    # All streams at once: an HDF5 file is copied when one is added to a file that has rows.
    for target in targets:
        writer.stream(target.stream, target.recipe, target.encoder.row_shape)
    total_seconds = sum(job.declared_seconds for job in plan.jobs)
    with tqdm(
        total=round(total_seconds, 1),
        desc="extract",
        unit=" video-s",
        disable=options.hides_progress,
    ) as bar:
        advance = ProgressCounter(total_seconds, bar.update, options.progress).advance
        if options.cluster is None and options.config.workers == 1:
            extract_videos(
                plan.jobs if is_hdf5(options.out) else _remaining(plan, options.out, report),
                targets,
                writer,
                options.config,
                report,
                advance=advance,
                num_threads=threads_for(1),
            )
        else:
            _extract_on_workers(plan, targets, writer, options, report, advance)


def _remaining(plan: Plan, store: Path, report: RunReport) -> Remaining:
    return Remaining(plan.jobs, CommittedVideos(store, report.streams), report)


def _extract_on_workers(
    plan: Plan,
    targets: list[Target],
    writer: StoreWriter,
    options: RunOptions,
    report: RunReport,
    advance: Callable[[float], None],
) -> None:
    # Here, because dask takes half a second to import.
    from extract.workers.cluster import open_workers
    from extract.workers.dispatch import extract_on_workers

    num_local = min(options.config.workers, len(plan.jobs))
    with open_workers(options.cluster, num_local, options.cluster_config) as workers:
        extract_on_workers(
            plan.jobs, targets, writer, options.config, report, advance=advance, workers=workers
        )


def _describe(plan: Plan, streams: Sequence[str]) -> str:
    lines = [f"would extract {job.video.id} ({job.declared_seconds:.1f} s)" for job in plan.jobs]
    lines += [f"would not try {failure.video_id} again" for failure in plan.failed_before]
    lines.append(
        f"{len(plan.jobs)} videos, {sum(job.declared_seconds for job in plan.jobs) / 3600:.3f} "
        f"video-hours to extract into {', '.join(streams)}; {plan.num_complete} already there."
    )
    return "\n".join(lines)
