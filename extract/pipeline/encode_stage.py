"""The encode stage: frames of the decode thread in, rows for the write thread out.

Runs in the thread that owns the device.

Shapes: F frames per window, C, H, W pixels.
"""

from collections.abc import Iterable, Sequence

from torch import Tensor

from extract.decode.frames import SampledFrame
from extract.encode.batching import EncodeQueue, Finished, Result, Rows
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.network_input import network_input
from extract.pipeline.decode_stage import Decoded, Failed, Frames
from extract.pipeline.work import Work
from extract.pipeline.write_stage import Abandon, Append, Commit, WriteStage
from extract.plan.jobs import Job
from extract.plan.targets import Target
from extract.report.run_report import RunReport

__all__ = ["EncodeStage"]


class EncodeStage:
    """Frames in, rows out, for every target at once."""

    def __init__(
        self,
        targets: Sequence[Target],
        threads: EncodeThreads,
        batch_size: int,
        write: WriteStage,
        report: RunReport,
    ) -> None:
        self._targets = targets
        self._write = write
        self._report = report
        self._threads = threads
        self._queues = {target.stream: self._new_queue(target, batch_size) for target in targets}
        self._works: dict[Job, list[Work]] = {}

    def take(self, item: Frames | Decoded | Failed) -> None:
        """Handle one item of the decode thread."""
        if isinstance(item, Failed):
            self._fail(item)
        elif isinstance(item, Frames):
            for work in self._open(item.job):
                self._encode(work, item.frames)
        else:
            self._end(item)

    def finish(self) -> None:
        """Encode what is still queued."""
        for encode_queue in self._queues.values():
            self._forward(encode_queue.flush())

    def _new_queue(self, target: Target, batch_size: int) -> EncodeQueue[Work]:
        return EncodeQueue(target.encoder, self._threads, batch_size, target.recipe.store_dtype)

    def _open(self, job: Job) -> list[Work]:
        if job not in self._works:
            wanted = [target for target in self._targets if target.stream in job.streams]
            self._works[job] = [Work.start(job, target) for target in wanted]
        return self._works[job]

    def _encode(self, work: Work, frames: Sequence[SampledFrame]) -> None:
        threads = self._threads
        pixels = network_input(work.target.encoder, frames, threads.map, threads.gpu_clock)
        for pixels_CHW, frame in zip(pixels, frames, strict=True):
            self._push(work, work.windows.push(pixels_CHW, frame.num_ticks))

    def _end(self, item: Decoded) -> None:
        for work in self._works.pop(item.job, []):
            work.facts = item.facts
            self._push(work, work.windows.finish())
            if not work.is_failed:
                self._forward(self._queues[work.target.stream].end(work))

    def _push(self, work: Work, windows: Iterable[Tensor]) -> None:
        for window_FCHW in windows:
            if not work.is_failed:
                self._forward(self._queues[work.target.stream].push(work, window_FCHW))

    def _fail(self, item: Failed) -> None:
        for work in self._works.pop(item.job, []):
            if self._queues[work.target.stream].drop(work):
                self._write.put(Abandon(work))
        streams = sorted(item.job.streams)
        self._report.fail(item.job.video, streams, item.stage, item.error, stands=item.stands)

    def _forward(self, results: Iterable[Result[Work]]) -> None:
        for result in results:
            if isinstance(result, Rows):
                self._write.put(Append(result.owner, result.values))
            elif isinstance(result, Finished):
                self._write.put(Commit(result.owner))
            else:
                self._overflow(result.owner)

    def _overflow(self, work: Work) -> None:
        """Give up one stream of a video; its other streams go on."""
        work.is_failed = True
        self._write.put(Abandon(work))
        dtype = work.target.recipe.store_dtype
        sentence = (
            f"stream '{work.target.stream}': a feature is infinite or NaN in {dtype}. "
            "Choose another store dtype or compute dtype."
        )
        self._report.fail(work.job.video, [work.target.stream], "encode", sentence)
