"""Run an extraction in this process, for tests."""

from pathlib import Path

from cache_schema.store import StoreWriter, create_store, open_store
from extract.config import ExtractConfig
from extract.extractor import extract_videos
from extract.plan import plan_jobs
from extract.report import RunReport
from extract.sources import find_videos
from extract.targets import Target, build_targets, streams_of


def extract(
    folder: Path, out: Path, writer: StoreWriter | None = None, **settings: object
) -> tuple[RunReport, list[Target]]:
    """Extract a folder in this process; return the report and the targets."""
    config = ExtractConfig(**{"encoders": ("fake",), "device": "cpu"} | settings)
    targets = build_targets(config, open_store(out) if out.exists() else None)
    videos = find_videos([str(folder)])
    plan = plan_jobs(videos, streams_of(targets), open_store(out) if out.exists() else None)
    report = RunReport(store=str(out), streams=streams_of(targets), failures=plan.failures)
    store = writer or create_store(out)
    try:
        extract_videos(plan.jobs, targets, store, config, report, advance=lambda _: None)
    finally:
        store.close()
    return report, targets
