"""What runs inside a worker process: its encoder, its part of the store, and one bundle at a time.

    bundle of jobs -> rows in this worker's own part (Zarr) or in the answer (HDF5) -> a receipt

A bundle may be handed out twice, to two workers at once even: each looks at the store's commits
before a video, and a video committed twice counts once.
"""

import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from distributed import Worker, WorkerPlugin, get_worker

from cache_schema.errors import ConfigError
from cache_schema.parsing import differences
from cache_schema.place import Place
from cache_schema.recipe import Recipe
from cache_schema.store import StoreWriter, create_store
from extract.config import ExtractConfig
from extract.decode.process import DecoderProcess
from extract.encode.cpu_threads import threads_for
from extract.pipeline.extractor import extract_videos
from extract.plan.committed import CommittedVideos, committed_videos
from extract.plan.jobs import Job
from extract.plan.remaining import Remaining
from extract.plan.targets import Target, build_targets
from extract.report.run_report import RunReport
from extract.workers.collector import CollectedVideo, RowCollector

__all__ = ["Order", "Receipt", "WorkerSession", "extract_bundle"]

PROGRESS_SECONDS = 0.5
"""Between two messages about progress."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What every worker of a run is told."""

    run: str
    """Tells this run from others on the same scheduler."""
    config: ExtractConfig
    store: Place
    streams: tuple[tuple[str, Recipe], ...]
    """Name and recipe for each encoder of the settings, in their order."""
    returns_rows: bool
    """The store takes one writer: rows travel back with the receipt."""
    num_threads: int | None
    """Cores of each worker; None takes those that torch finds."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a bundle."""

    report: RunReport
    videos: list[CollectedVideo] = field(default_factory=list)


def extract_bundle(run: str, jobs: tuple[Job, ...]) -> Receipt:
    """Bring each job's video into the streams it lacks; the task of the dask graph."""
    session = get_worker().plugins[run]
    assert isinstance(session, WorkerSession)
    return session.extract(jobs)


class WorkerSession(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """One run's state in one worker: loaded at the first bundle, kept until the run ends."""

    def __init__(self, order: Order) -> None:
        self.name = order.run
        self._order = order

    def setup(self, worker: Worker) -> None:
        """Note which worker this is; called by dask when the worker joins."""
        self._worker = worker
        # A worker with several threads is one process all the same: one bundle at a time.
        self._lock = threading.Lock()
        self._targets: list[Target] = []
        self._writer: StoreWriter | None = None
        self._commits: CommittedVideos | None = None
        self._unsent_seconds = 0.0
        self._sent = 0.0

    def teardown(self, worker: Worker) -> None:
        """Seal this worker's parts; called by dask when the run ends or the worker is retired."""
        if self._lock.acquire(blocking=False):  # else a bundle is cut short: its part stays open
            self._close()
            self._lock.release()

    def extract(self, jobs: tuple[Job, ...]) -> Receipt:
        """Extract one bundle."""
        with self._lock:
            if not self._targets:
                self._targets = self._load_targets()
            report = RunReport(store=str(self._order.store), streams=[])
            try:
                return self._extract(jobs, report)
            except BaseException:
                self._close()  # the writer is in the middle of a video
                raise
            finally:
                self._advance(0.0, at_once=True)

    def _extract(self, jobs: tuple[Job, ...], report: RunReport) -> Receipt:
        if self._order.returns_rows:
            rows = RowCollector()
            self._extract_into(rows, jobs, report)
            return Receipt(report=report, videos=rows.videos)
        if self._writer is None:
            self._writer = create_store(self._order.store)
        if self._commits is None:
            names = [name for name, _ in self._order.streams]
            self._commits = committed_videos(self._order.store, names)
        self._extract_into(self._writer, Remaining(jobs, self._commits, report), report)
        return Receipt(report=report)

    def _extract_into(self, writer: StoreWriter, jobs: Iterable[Job], report: RunReport) -> None:
        extract_videos(
            jobs,
            self._targets,
            writer,
            self._order.config,
            report,
            decoder=DecoderProcess(),
            advance=self._advance,
            num_threads=self._order.num_threads or threads_for(1),
        )

    def _load_targets(self) -> list[Target]:
        config = replace(self._order.config, device=self._device())
        made = build_targets(config, None)
        for target, (name, recipe) in zip(made, self._order.streams, strict=True):
            if fields := differences(recipe, target.recipe):
                raise ConfigError(
                    f"worker {self._worker.name}: would make other rows for '{name}' than the "
                    f"machine that started the run: {'; '.join(fields)}. Give --compute-dtype and "
                    "install the same versions."
                )
        names = [name for name, _ in self._order.streams]
        return [replace(target, stream=name) for target, name in zip(made, names, strict=True)]

    def _device(self) -> str:
        """Return the device: worker i of a machine takes the i-th GPU of those it sees."""
        asked = self._order.config.device
        num_gpus = torch.cuda.device_count()
        if asked not in {"auto", "cuda"} or not num_gpus:
            return asked
        number = re.search(r"\d+$", str(self._worker.name))
        return f"cuda:{int(number.group()) % num_gpus if number else 0}"

    def _advance(self, seconds: float, *, at_once: bool = False) -> None:
        """Tell the run's progress bar about video-seconds, not too often."""
        self._unsent_seconds += seconds
        now = time.monotonic()
        if self._unsent_seconds and (at_once or now - self._sent > PROGRESS_SECONDS):
            self._worker.log_event(self.name, self._unsent_seconds)
            self._unsent_seconds, self._sent = 0.0, now

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
