"""The decode thread: jobs -> chunks of sampled frames, then the facts or the failure.

The decoding itself runs in child processes that this thread feeds and watches: one decodes the
video whose frames are handed over, others begin with the next ones meanwhile. A video of some
seconds is too short to be decoded at several places side by side.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle

from cache_schema.errors import PassingVideoError, VideoError
from extract.decode.frame_slots import FrameMemory
from extract.decode.frames import SampledFrame, VideoFacts
from extract.decode.process import DecoderProcess
from extract.plan.jobs import Job
from extract.report.run_report import RunReport

__all__ = ["DecodeStage", "Decoded", "Failed", "Frames"]

CHUNK_BYTES = 32 * 2**20
"""Frames travel in chunks of about this size (one 1080p frame has 6 MB) ..."""

QUEUE_CHUNKS = 3
"""... and this many chunks may wait, so memory does not grow with a video's length."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Some consecutive sampled frames of a video."""

    job: Job
    frames: list[SampledFrame]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A video was read to its end."""

    job: Job
    facts: VideoFacts


@dataclass(frozen=True, slots=True)
class Failed:
    """A video cannot be used."""

    job: Job
    stage: str
    error: str
    stands: bool
    """Whether later runs pass over the file."""


Item = Frames | Decoded | Failed


@dataclass(frozen=True, slots=True)
class _End:
    """No job is left, or the jobs themselves could not be had."""

    error: Exception | None = None


class DecodeStage:
    """Decodes videos one after the other, ahead of whoever iterates over it."""

    def __init__(
        self,
        jobs: Iterable[Job],
        fps: Fraction | None,
        backend: str,
        report: RunReport,
        process: DecoderProcess,
        *,
        num_ahead: int,
        planes: bool,
        show_memory: Callable[[FrameMemory], object] | None = None,
    ) -> None:
        """Prepare to decode.

        Args:
            jobs: In their order.
            fps: Ticks per second of video time; None takes every frame.
            backend: What decodes.
            report: Gets times and memory.
            process: Where the first one is decoded, and maybe was begun; it is closed at the end.
            num_ahead: Videos that other processes begin with meanwhile.
            planes: Whether frames may come as ``Planes``.
            show_memory: Sees the memory that frames will come in, if it has to be prepared.
        """
        self._jobs = jobs
        self._fps = fps
        self._backend = backend
        self._planes = planes
        self._report = report
        self._items: queue.Queue[Item | _End] = queue.Queue(QUEUE_CHUNKS)
        self._stopped = threading.Event()
        self._processes = [process, *(DecoderProcess() for _ in range(num_ahead))]
        self._show_memory = show_memory
        self._thread = threading.Thread(target=self._run, name="decode")
        self.thread_seconds = 0.0
        """CPU time of this process that decoding took, once it has ended."""

    def __enter__(self) -> "DecodeStage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for process in self._processes:
            process.stop()
        self._thread.join()

    def __iter__(self) -> Iterator[Item]:
        """Yield items until the last job's end or failure."""
        while not isinstance(item := self._items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def _run(self) -> None:
        end = _End()
        try:
            with ExitStack() as stack:
                for process in self._processes:
                    stack.enter_context(process)
                    if self._show_memory:
                        process.show_memory(self._show_memory)
                self._decode_all()
        except Exception as error:  # whoever iterates must not wait for ever
            end = _End(error)
        self.thread_seconds = time.thread_time()
        children = sum(process.cpu_seconds for process in self._processes)
        self._report.cpu_seconds["decode"] += self.thread_seconds + children
        peak_bytes = sum(process.peak_bytes for process in self._processes)
        self._report.note_peak("decode", peak_bytes)
        self._put(end)

    def _decode_all(self) -> None:
        for job, process in self._begun():
            for item in self._decode(job, process):
                if not self._put(item):
                    return

    def _begun(self) -> Iterator[tuple[Job, DecoderProcess]]:
        """Yield each job and its process, once the next jobs were begun in the others."""
        begun: deque[tuple[Job, DecoderProcess]] = deque()
        for job, process in zip(self._jobs, cycle(self._processes), strict=False):
            if begun:
                process.begin(job.video.path, self._backend, self._fps, planes=self._planes)
            begun.append((job, process))
            if len(begun) == len(self._processes):
                yield begun.popleft()
        yield from begun

    def _decode(self, job: Job, process: DecoderProcess) -> Iterator[Item]:
        try:
            yield from self._chunks(job, process)
        except VideoError as error:
            yield _failed(job, error)

    def _chunks(self, job: Job, process: DecoderProcess) -> Iterator[Item]:
        chunk: list[SampledFrame] = []
        num_bytes = 0
        started = time.perf_counter()
        for frame in process.decode(job.video.path, self._backend, self._fps, planes=self._planes):
            if isinstance(frame, VideoFacts):
                job.check_unchanged()
                self._report.busy_seconds["decode"] += time.perf_counter() - started
                yield Frames(job, chunk)
                yield Decoded(job, frame)
                return
            chunk.append(frame)
            num_bytes += frame.pixels.nbytes
            if num_bytes >= CHUNK_BYTES:
                self._report.busy_seconds["decode"] += time.perf_counter() - started
                yield Frames(job, chunk)
                chunk, num_bytes, started = [], 0, time.perf_counter()

    def _put(self, item: Item | _End) -> bool:
        """Hand over one item; tell whether the run goes on."""
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False


def _failed(job: Job, error: VideoError) -> Failed:
    """Return what a video failed of; one that changed meanwhile may well be whole now."""
    try:
        job.check_unchanged()
    except PassingVideoError as changed:
        error = changed
    return Failed(job, "decode", str(error), error.stands)
