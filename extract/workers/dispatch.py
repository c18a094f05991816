"""Extraction by many workers: bundles out, receipts in, until every video is done or has failed.

A worker may be lost at any time. What it committed is committed; its bundle goes to another one,
which passes over the videos that are there. A video that kills three workers is a failure.
"""

import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from distributed import Client, Future, KilledWorker
from distributed import wait as wait_for_futures

from cache_schema.errors import PipelineError
from cache_schema.place import absolute_place
from cache_schema.recipe import Recipe
from cache_schema.store import StoreWriter, is_hdf5
from extract.config import ExtractConfig
from extract.encode.encoders import absolute_name
from extract.plan.committed import committed_videos
from extract.plan.jobs import Job
from extract.plan.targets import Target, streams_of
from extract.report.run_report import RunReport
from extract.workers.bundles import Bundle, bundle_jobs
from extract.workers.cluster import Workers
from extract.workers.collector import commit_collected
from extract.workers.worker import Order, Receipt, WorkerSession, extract_bundle

__all__ = ["extract_on_workers"]

MOST_DEATHS = 3
"""Workers a video may cost."""
POLL_SECONDS = 2.0


def extract_on_workers(
    jobs: Sequence[Job],
    targets: Sequence[Target],
    writer: StoreWriter,
    config: ExtractConfig,
    report: RunReport,
    *,
    advance: Callable[[float], None],
    workers: Workers,
) -> None:
    """Bring every job's video into the streams it lacks; see ``extract_videos``.

    Args:
        jobs: Longest first.
        targets: The streams, as this process would make them: workers must agree.
        writer: The store, whose streams are made. Zarr workers write parts of their own; rows for
            HDF5 come back here.
        config: Sampling, batch size, decoder.
        report: Gets counts and failures, the ledger too, as soon as a bundle is done.
        advance: Called with the video-seconds that some worker has just encoded.
        workers: Whom to send bundles to.

    Raises:
        PipelineError: if no worker is left for long, or the scheduler is gone.
        Exception: whatever ``advance`` raises.
    """
    store = absolute_place(report.store)
    order = Order(
        run=f"extract-{secrets.token_hex(8)}",
        config=replace(config, encoders=tuple(map(absolute_name, config.encoders))),
        store=store,
        streams=tuple((target.stream, target.recipe) for target in targets),
        returns_rows=is_hdf5(store),
        num_threads=workers.num_threads,
    )
    bundles = bundle_jobs(jobs, workers.most())
    if not order.returns_rows and committed_videos(store, streams_of(targets)).refresh():
        # Somebody else fills this store: another order seldom takes the same video.
        random.shuffle(bundles)
    shapes = {t.stream: (t.recipe, t.encoder.row_shape) for t in targets}
    client = workers.client
    progress = _Progress(advance)
    client.subscribe_topic(order.run, lambda event: progress.take(event[1]))
    client.register_plugin(WorkerSession(order))
    try:
        _Dispatch(workers, order.run, bundles, writer, shapes, report, progress).run()
    finally:
        _end(client, order.run)


def _end(client: Client, run: str) -> None:
    """Let the workers seal their parts; a scheduler that is gone cannot be told."""
    if client.status == "running":
        client.unsubscribe_topic(run)
        with suppress(KeyError):  # a worker that has just joined knows nothing of it
            client.unregister_worker_plugin(run)


class _Progress:
    """Tells what workers have done, in dask's thread, where errors would be lost."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._error: Exception | None = None

    def take(self, seconds: float) -> None:
        """Tell of video-seconds, unless an earlier time has failed."""
        if self._error is not None:
            return
        try:
            self._advance(seconds)
        except Exception as error:  # code of whoever started the run; ``check`` hands it over
            self._error = error

    def check(self) -> None:
        """Raise what telling has raised."""
        if self._error is not None:
            raise self._error


class _Dispatch:
    """Bundles that wait, bundles that are out."""

    def __init__(
        self,
        workers: Workers,
        run: str,
        bundles: Sequence[Bundle],
        writer: StoreWriter,
        shapes: dict[str, tuple[Recipe, tuple[int, ...]]],
        report: RunReport,
        progress: _Progress,
    ) -> None:
        self._workers = workers
        self._run = run
        self._waiting = deque(bundles)
        self._out: dict[Future, Bundle] = {}
        self._writer = writer
        self._shapes = shapes
        self._report = report
        self._progress = progress
        self._last_seen = time.monotonic()

    def run(self) -> None:
        """Go on until nothing waits and nothing is out."""
        while self._waiting or self._out:
            # Few are out at a time: rows of HDF5 workers pile up here, and a worker that dies
            # takes the blame for its own bundle alone.
            while self._waiting and len(self._out) < self._workers.most():
                self._send(self._waiting.popleft())
            for future in self._finished():
                self._take(future, self._out.pop(future))
                future.release()
            self._progress.check()

    def _send(self, bundle: Bundle) -> None:
        future = self._workers.client.submit(extract_bundle, self._run, bundle.jobs, pure=False)
        self._out[future] = bundle

    def _finished(self) -> list[Future]:
        try:
            wait_for_futures(list(self._out), POLL_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            self._check_workers()
        return [future for future in self._out if future.done()]

    def _check_workers(self) -> None:
        """Raise if there has been no worker for long."""
        if self._workers.client.nthreads():
            self._last_seen = time.monotonic()
        elif time.monotonic() - self._last_seen > self._workers.wait_seconds:
            raise PipelineError(
                f"no worker is left, for {self._workers.wait_seconds:.0f} s now ([cluster] "
                "wait_seconds). What was committed is kept; run the same again to go on."
            )

    def _take(self, future: Future, bundle: Bundle) -> None:
        if future.cancelled():
            raise PipelineError(
                "the dask scheduler is gone. What was committed is kept; run the same again to "
                "go on."
            )
        error = future.exception()
        if isinstance(error, KilledWorker):
            self._blame(bundle, error)
        elif error is not None:
            raise error
        else:
            self._book(future.result())

    def _book(self, receipt: Receipt) -> None:
        commit_collected(receipt.videos, self._writer, self._shapes)
        self._report.add(receipt.report)

    def _blame(self, bundle: Bundle, error: KilledWorker) -> None:
        """Hand a bundle out again after its worker died, until its video has cost too many."""
        bundle.deaths += error.allowed_failures + 1
        if len(bundle.jobs) > 1:
            self._waiting.extendleft(reversed(bundle.split()))
        elif bundle.deaths < MOST_DEATHS:
            self._waiting.append(bundle)
        else:
            (job,) = bundle.jobs
            sentence = (
                f"the worker died {bundle.deaths} times at it, perhaps for lack of memory; the "
                "worker's or the batch system's log may tell. The next run tries it again."
            )
            streams = sorted(job.streams)
            self._report.fail(job.video, streams, "worker", sentence, stands=False)
