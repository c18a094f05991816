"""One run of ``vllm-extract``: find, plan, extract here or on workers, report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from cache_schema.energy import EnergyMeter
from cache_schema.place import Place
from cache_schema.recipe import Recipe
from cache_schema.store import (
    Store,
    StoreWriter,
    check_name,
    create_store,
    is_hdf5,
    open_store,
    store_exists,
    stream_names,
)
from extract.config import ExtractConfig
from extract.decode.process import DecoderProcess
from extract.encode.encoders.kept import Load
from extract.encode.encoders.remembered import load_and_remember
from extract.plan.committed import committed_videos
from extract.plan.jobs import Plan, plan_jobs
from extract.plan.remaining import Remaining
from extract.plan.targets import (
    Target,
    build_targets,
    check_recipe,
    make_streams,
    remembered_recipes,
    sampling_fps,
    streams_of,
)
from extract.process_memory import nothing_collected
from extract.report.cost import cost_written
from extract.report.ledger import Ledger
from extract.report.progress import Progress, ProgressCounter
from extract.report.run_report import RunReport
from extract.sources.shards import Shard, refuse_shards, shard_of
from extract.sources.videos import find_videos
from extract.workers.config import ClusterConfig
from extract.workers.fork_server import ForkServer

__all__ = ["RunOptions", "run_extraction"]

NVIDIA_DRIVER = Path("/dev/nvidiactl")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line and the settings ask for."""

    inputs: tuple[str, ...]
    out: Place
    config: ExtractConfig
    cluster: str | None
    """``slurm``, the address of a dask scheduler, or None for this machine."""
    cluster_config: ClusterConfig
    shard: Shard | None
    retry_failed: bool
    dry_run: bool
    hides_progress: bool
    """Shows no bar."""
    recipe: Recipe | None = None
    """What all rows must be made by, but for the decoder's version; None takes the settings'."""
    progress: Callable[[Progress], object] = lambda progress: None
    """Told of every bit of work that was done."""
    load: Load = load_and_remember
    """Gives an encoder by its name and options, where this process encodes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Processes:
    """What runs beside this process."""

    decoder: DecoderProcess
    forks: ForkServer
    """Of workers on this machine."""


@dataclass(frozen=True, kw_only=True)
class _Outlook:
    """What lies before a run."""

    plan: Plan
    streams: list[str]
    targets: list[Target]
    """Empty if no network had to be loaded to see that there is nothing to do."""


def run_extraction(options: RunOptions, *, tell: Callable[[str], object]) -> RunReport:
    """Bring all videos into the store; what is there is skipped.

    Args:
        options: The run.
        tell: Called with lines for the user that are no part of the summary.
    """
    check_name(options.out)
    if options.shard is not None:
        refuse_shards(options.out, options.shard.count)
    with DecoderProcess() as decoder, ForkServer() as forks:
        return _run(options, _Processes(decoder=decoder, forks=forks), tell)


def _run(options: RunOptions, processes: _Processes, tell: Callable[[str], object]) -> RunReport:
    ledger = Ledger(options.out)
    outlook = _look(options, ledger, processes)
    if options.dry_run:
        report = _new_report(outlook, options)
        report.note(outlook.plan.failures)
        tell(_describe(outlook.plan, report.streams))
        return report
    writer = create_store(options.out)
    try:
        outlook = _with_streams(outlook, writer, options, ledger, processes.decoder)
        report = _new_report(outlook, options)
        for wanted, stored in outlook.plan.moved:
            tell(f"{wanted}: is stored as '{stored}' (same content, moved).")
        report.ledger = ledger
        report.note(outlook.plan.failures)
        if outlook.plan.jobs:
            meter = _energy_meter(outlook.targets, options)
            with cost_written(report, meter, tell=tell):
                _extract(outlook.plan, outlook.targets, writer, options, report, processes)
    finally:
        writer.close()
    return report


def _look(options: RunOptions, ledger: Ledger, processes: _Processes) -> _Outlook:
    """Plan; networks are loaded if there is work, or if their recipes are not remembered."""
    store = open_store(options.out) if store_exists(options.out) else None
    recipes = remembered_recipes(options.config)
    plan = None
    if recipes is not None:
        _check_recipes(options, recipes)
        streams = stream_names(store, recipes)
        plan = _plan(options, store, streams, ledger, processes.decoder)
        if options.dry_run or not plan.jobs:
            return _Outlook(plan=plan, streams=streams, targets=[])
        _begin(plan, options, processes)
    with nothing_collected():
        targets = build_targets(options.config, store, options.load)
    _check_recipes(options, [target.recipe for target in targets])
    streams = streams_of(targets)
    # A hub's model may have moved on since: what was loaded counts.
    if plan is None or recipes != [target.recipe for target in targets]:
        plan = _plan(options, store, streams, ledger, processes.decoder)
    return _Outlook(plan=plan, streams=streams, targets=targets)


def _begin(plan: Plan, options: RunOptions, processes: _Processes) -> None:
    """While networks are loaded, decode the first video, or start what workers are forked from."""
    if options.cluster is not None:
        return
    config = options.config
    if config.workers > 1:
        processes.forks.start(config.encoders)
    elif options.shard is None:  # beside other shards it takes its videos in any order
        planes = _may_be_on_gpu(config.device)
        first = plan.jobs[0].video
        fps = sampling_fps(config)
        processes.decoder.begin(first.path, config.decoder, fps, planes=planes)


def _may_be_on_gpu(device: str) -> bool:
    """Tell whether encoders will most likely run on a GPU; torch, which knows, is not loaded."""
    return NVIDIA_DRIVER.exists() if device == "auto" else device != "cpu"


def _check_recipes(options: RunOptions, recipes: Sequence[Recipe]) -> None:
    for recipe in recipes:
        if options.recipe is not None:
            check_recipe(options.recipe, recipe, any_decoder_version=True)


def _with_streams(
    outlook: _Outlook,
    writer: StoreWriter,
    options: RunOptions,
    ledger: Ledger,
    decoder: DecoderProcess,
) -> _Outlook:
    """Make the streams; plan again if another run has taken one's name in the meantime.

    From here on names are fixed: workers are told them.
    """
    if not outlook.plan.jobs:
        return outlook
    targets = make_streams(outlook.targets, writer, options.out)
    streams = streams_of(targets)
    if streams == outlook.streams:
        return outlook
    plan = _plan(options, open_store(options.out), streams, ledger, decoder)
    return _Outlook(plan=plan, streams=streams, targets=targets)


def _new_report(outlook: _Outlook, options: RunOptions) -> RunReport:
    return RunReport(
        store=str(options.out),
        streams=outlook.streams,
        num_skipped=outlook.plan.num_complete,
        failed_before=outlook.plan.failed_before,
        moved=outlook.plan.moved,
        shard=str(options.shard) if options.shard else None,
    )


def _plan(
    options: RunOptions,
    store: Store | None,
    streams: Sequence[str],
    ledger: Ledger,
    decoder: DecoderProcess,
) -> Plan:
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
        decoder=decoder,
    )


def _extract(
    plan: Plan,
    targets: list[Target],
    writer: StoreWriter,
    options: RunOptions,
    report: RunReport,
    processes: _Processes,
) -> None:
    # Here, because torch takes seconds to import and a run may find nothing to do.
    from extract.encode.cpu_threads import threads_for
    from extract.pipeline.extractor import extract_videos

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
                decoder=processes.decoder,
                advance=advance,
                num_threads=threads_for(1),
            )
        else:
            _extract_on_workers(plan, targets, writer, options, report, advance, processes.forks)


def _energy_meter(targets: Sequence[Target], options: RunOptions) -> EnergyMeter:
    # Here, because torch takes seconds to import and a run may find nothing to do.
    from extract.encode.encoders.placement import gpu_uuids

    if options.cluster is not None:
        return EnergyMeter(None)  # other machines do the work
    workers = options.config.workers
    return EnergyMeter({uuid for t in targets for uuid in gpu_uuids(t.encoder.device, workers)})


def _remaining(plan: Plan, store: Place, report: RunReport) -> Remaining:
    return Remaining(plan.jobs, committed_videos(store, report.streams), report)


def _extract_on_workers(
    plan: Plan,
    targets: list[Target],
    writer: StoreWriter,
    options: RunOptions,
    report: RunReport,
    advance: Callable[[float], None],
    forks: ForkServer,
) -> None:
    # Here, because dask takes half a second to import.
    from extract.workers.cluster import open_workers
    from extract.workers.dispatch import extract_on_workers

    if options.cluster is None:
        forks.start(options.config.encoders)
    num_local = min(options.config.workers, len(plan.jobs))
    with open_workers(
        options.cluster, num_local, options.cluster_config, forks.start_method
    ) as workers:
        report.num_workers = workers.most()
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
