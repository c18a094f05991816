"""Run an extraction in this process, for tests."""

from fractions import Fraction
from pathlib import Path

from cache_schema.place import Place
from cache_schema.store import StoreWriter, create_store, open_store
from extract.config import ExtractConfig
from extract.decode.process import DecoderProcess
from extract.pipeline.extractor import extract_videos
from extract.plan.jobs import plan_jobs
from extract.plan.targets import Target, build_targets, streams_of
from extract.report.run_report import RunReport
from extract.run import RunOptions, run_extraction
from extract.sources.shards import Shard
from extract.sources.videos import find_videos
from extract.workers.config import ClusterConfig


def extract(
    folder: Path, out: Path, writer: StoreWriter | None = None, **settings: object
) -> tuple[RunReport, list[Target]]:
    """Extract a folder in this process; return the report and the targets."""
    config = ExtractConfig(**{"encoders": ("fake",), "device": "cpu"} | settings)
    targets = build_targets(config, open_store(out) if out.exists() else None)
    videos = find_videos([str(folder)])
    there = open_store(out) if out.exists() else None
    decoder = DecoderProcess()
    plan = plan_jobs(videos, streams_of(targets), there, decoder=decoder)
    report = RunReport(store=str(out), streams=streams_of(targets), failures=plan.failures)
    store = writer or create_store(out)
    try:
        extract_videos(
            plan.jobs,
            targets,
            store,
            config,
            report,
            decoder=decoder,
            advance=lambda _: None,
            num_threads=1,
        )
    finally:
        store.close()
        decoder.close()
    return report, targets


def run(
    folder: Place,
    out: Path,
    *,
    shard: Shard | None = None,
    retry_failed: bool = False,
    fps: int = 2,
    encoder: str = "fake",
    workers: int = 1,
) -> RunReport:
    """Do what ``vllm-extract`` does, in this process."""
    config = ExtractConfig(encoders=(encoder,), device="cpu", fps=Fraction(fps), workers=workers)
    options = RunOptions(
        inputs=(str(folder),),
        out=out,
        config=config,
        cluster=None,
        cluster_config=ClusterConfig(),
        shard=shard,
        retry_failed=retry_failed,
        dry_run=False,
        hides_progress=True,
    )
    return run_extraction(options, tell=lambda _: None)
