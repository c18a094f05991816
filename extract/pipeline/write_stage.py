"""The write thread: rows to disk and commits, one video at a time in each stream."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cache_schema.store import StoreWriter, StreamWriter
from cache_schema.stored_numbers import Array
from extract.pipeline.work import Work
from extract.plan.jobs import Job
from extract.plan.targets import Target
from extract.report.run_report import RunReport

__all__ = ["Abandon", "Append", "Commit", "WriteStage"]

QUEUE_ITEMS = 64


@dataclass(frozen=True, slots=True)
class Append:
    """Add rows to a video."""

    work: Work
    values: Array


@dataclass(frozen=True, slots=True)
class Commit:
    """All rows of a video were appended: make it visible."""

    work: Work


@dataclass(frozen=True, slots=True)
class Abandon:
    """A video failed after some of its rows were appended."""

    work: Work


Item = Append | Commit | Abandon


class WriteStage:
    """Writes what is put into it; leaving the block normally waits until all of it is durable."""

    def __init__(self, writer: StoreWriter, targets: Sequence[Target], report: RunReport) -> None:
        # All at once: an HDF5 file is copied when a stream is added to one that has rows.
        self._streams = {
            target.stream: writer.stream(target.stream, target.recipe, target.encoder.row_shape)
            for target in targets
        }
        self._report = report
        self._items: queue.Queue[Item | None] = queue.Queue(QUEUE_ITEMS)
        self._error: BaseException | None = None
        self._streams_done: dict[Job, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="write")
        self.thread_seconds = 0.0
        """CPU time that writing took, once it has ended."""

    def __enter__(self) -> "WriteStage":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.put(None)
            else:
                self._stopped.set()
        finally:
            self._thread.join()
        if kind is None:
            self._raise_error()

    def put(self, item: Item | None) -> None:
        """Hand over one item; raises what the thread failed with (a full disk, say)."""
        while True:
            self._raise_error()
            try:
                self._items.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._write_all()
        except Exception as error:
            self._error = error
        self.thread_seconds = time.thread_time()
        self._report.cpu_seconds["write"] += self.thread_seconds

    def _write_all(self) -> None:
        while not self._stopped.is_set():
            try:
                item = self._items.get(timeout=0.2)
            except queue.Empty:
                continue
            if item is None:
                return
            started = time.perf_counter()
            self._handle(item)
            self._report.busy_seconds["write"] += time.perf_counter() - started

    def _handle(self, item: Item) -> None:
        stream = self._streams[item.work.target.stream]
        if isinstance(item, Append):
            stream.append(item.values, are_finite=True)  # else the encode stage drops them
            item.work.feature_bytes += item.values.nbytes
        elif isinstance(item, Abandon):
            stream.abandon()
        else:
            self._commit(stream, item.work)

    def _commit(self, stream: StreamWriter, work: Work) -> None:
        facts = work.facts
        assert facts is not None, "a video is committed after it was read to its end"
        stream.commit(work.record(facts), work.times(facts))
        self._report.num_rows += work.windows.num_windows
        self._report.feature_bytes += work.feature_bytes
        done = self._streams_done.pop(work.job, 0) + 1
        if done < len(work.job.streams):
            self._streams_done[work.job] = done
            return
        self._report.num_done += 1
        self._report.video_seconds += facts.duration_seconds
        self._report.video_bytes += work.job.video.size_bytes
