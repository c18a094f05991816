"""Stage 1 in one process: decode | preprocess and encode | write, three threads side by side.

    decode thread  --frames-->  this thread (device)  --rows-->  write thread (fsync, commit)

A video commits by itself; one that fails leaves no row and an entry in the report.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from cache_schema.store import StoreWriter
from extract.config import ExtractConfig
from extract.decode.process import DecoderProcess
from extract.encode.cpu_threads import EncodeThreads
from extract.encode.encoders.placement import device_name
from extract.encode.gpu.page_locked import lock_pages
from extract.pipeline.decode_stage import DecodeStage, Frames
from extract.pipeline.encode_stage import EncodeStage
from extract.pipeline.write_stage import WriteStage
from extract.plan.jobs import Job
from extract.plan.targets import Target, sampling_fps
from extract.process_memory import freed_memory_kept, peak_bytes
from extract.report.run_report import RunReport

__all__ = ["extract_videos"]

MOST_AHEAD = 3
"""Videos that are begun ahead; each may hold memory for frames that wait ..."""

CORES_AHEAD = 4
"""... and keeps about so many cores busy."""


def extract_videos(
    jobs: Iterable[Job],
    targets: Sequence[Target],
    writer: StoreWriter,
    config: ExtractConfig,
    report: RunReport,
    *,
    decoder: DecoderProcess,
    advance: Callable[[float], None],
    num_threads: int,
) -> None:
    """Bring every job's video into the streams it lacks.

    Args:
        jobs: In the order to work through them; each is asked for when its turn comes.
        targets: The streams; each job names those it needs.
        writer: The store; stays open.
        config: Sampling, batch size, decoder.
        report: Gets counts, failures and stage times.
        decoder: What decodes first, started or not; it is closed at the end.
        advance: Called with the video-seconds just encoded, for a progress bar.
        num_threads: Cores that are its own: batches that a CPU encodes side by side, and videos
            that are decoded. Rows do not depend on it.
    """
    fps = sampling_fps(config)
    devices = {target.encoder.device for target in targets}
    # A CPU converts frames to RGB where it decodes them, the others are quicker at it.
    planes = all(device.type != "cpu" for device in devices)
    # A CPU's network is slower than decoding, which would only take cores from it.
    num_ahead = min(MOST_AHEAD, num_threads // CORES_AHEAD) if planes else 0
    show_memory = partial(lock_pages, device=next(iter(devices))) if planes else None
    report.devices |= set(map(device_name, devices))
    used_before = time.process_time()
    with (
        freed_memory_kept(),
        WriteStage(writer, targets, report) as write,
        DecodeStage(
            jobs,
            fps,
            config.decoder,
            report,
            decoder,
            num_ahead=num_ahead,
            planes=planes,
            show_memory=show_memory,
        ) as decode,
        EncodeThreads(num_threads) as threads,
        _one_torch_thread(),
    ):
        encoding = EncodeStage(targets, threads, config.batch_size, write, report)
        for item in decode:
            started = time.perf_counter()
            encoding.take(item)
            report.busy_seconds["encode"] += time.perf_counter() - started
            if isinstance(item, Frames) and fps is not None:
                advance(float(sum(frame.num_ticks for frame in item.frames) / fps))
        encoding.finish()
    # Its own thread, the lanes, and whatever threads a runtime starts: all that is left over.
    others = decode.thread_seconds + write.thread_seconds
    report.cpu_seconds["encode"] += time.process_time() - used_before - others
    report.note_gpu("encode", threads.gpu_clock.seconds)
    report.note_peak("encode", peak_bytes())


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Keep torch from working in this thread with others.

    What is done here is a copy now and then; threads that wait for each other in loops meanwhile
    take the cores from decoding and encoding.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
