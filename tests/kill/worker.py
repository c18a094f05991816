"""What a forked worker does: one command of the pipeline, with small parts and an open mouth."""

import ctypes
import itertools
import os
import resource
import signal
import struct
import sys
from dataclasses import replace

import zarr

from cache_schema import cli_edge, layout
from cache_schema.convert import compact
from cache_schema.hdf5_backend import store as hdf5_store
from cache_schema.zarr_backend import store as zarr_store
from extract import cli
from extract.decode import frames, pyav_source
from extract.decode.backends import open_video
from extract.decode.process import DecoderProcess
from extract.encode.encoders import ENCODERS
from extract.encode.encoders.fake import FakeEncoder
from extract.pipeline import extractor
from extract.plan import jobs as plan
from extract.tools import cli as store_cli
from extract.tools import import_features
from tests.kill.places import Reports

COMMANDS = {"vllm-extract": cli.extract_command, "vllm-store": store_cli.store_command}

PART_BYTES = 24 * 1024
HDF5_CHUNK_BYTES = 4096
HDF5_TIME_CHUNK_ROWS = 64


class ClipFake(FakeEncoder):
    """A second encoder, so that a video is in one stream while the other still lacks it."""

    frames_per_window = 4

    def __init__(self, options):
        super().__init__(options)
        self.recipe = replace(self.recipe, id="clip_fake")

    def encode(self, pixels_BFCHW):
        return super().encode(pixels_BFCHW.mean(dim=1, keepdim=True))


def warm_up() -> None:
    """Import what a worker needs; a test must not wait for it at each fork."""
    assert extractor
    assert import_features
    assert zarr
    layout.PART_BYTES = PART_BYTES
    hdf5_store.CHUNK_BYTES = HDF5_CHUNK_BYTES
    hdf5_store.TIME_CHUNK_ROWS = HDF5_TIME_CHUNK_ROWS
    DecoderProcess.decode, DecoderProcess.probe = _decode, _probe
    ENCODERS["clip_fake"] = f"{__name__}:ClipFake"


def _decode(self, path, backend, fps, *, planes):
    """Decode in the worker: starting a decoding child takes longer than all else together."""
    assert not planes  # there is no GPU
    facts = []
    yield from frames.sample_frames(open_video(path, backend), fps, facts)
    yield facts[0]


def _probe(self, path):
    return pyav_source.probe(path)


def work(arguments: list[str], limits: dict[str, object], reports: Reports) -> int:
    """Run one command as its user would; return its exit code."""
    _watch(reports)
    if (file_bytes := limits["file_bytes"]) is not None:
        # Writes behind this byte of a file fail with EFBIG, like those on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if limits["calls"] is not None:
        _die_at_call(limits["calls"])
    if not limits["is_root"]:
        _give_up_capabilities()
    sys.argv = arguments
    reports.move("between")
    try:
        cli_edge.run(COMMANDS[arguments[0]])
    except SystemExit as end:
        reports.move("end")
        sys.stderr.flush()
        return end.code
    return 99


def _give_up_capabilities() -> None:
    """Root may write everywhere; without capabilities it is a user like any other."""
    version_3, this_process = 0x20080522, 0
    header = struct.pack("=Ii", version_3, this_process)
    assert ctypes.CDLL(None).capset(header, bytes(24)) == 0


def _die_at_call(last: int) -> None:
    """Kill this process before a system call, or half-way through it if it writes."""
    numbers = itertools.count()

    def dying(inner, name):
        def call(*args, **keywords):
            if next(numbers) == last:
                if name == "write":
                    inner(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*args, **keywords)

        return call

    for name in (
        "write",
        "fsync",
        "ftruncate",
        "open",
        "mkdir",
        "replace",
        "link",
        "unlink",
        "rmdir",
    ):
        setattr(os, name, dying(getattr(os, name), name))


def _watch(reports: Reports) -> None:
    for writer in (zarr_store.ZarrStreamWriter, hdf5_store.Hdf5StreamWriter):
        _report_commits(writer, reports)
        reports.watch(writer, "append", "append")
        reports.watch(writer, "close", "close")
    for store in (zarr_store.ZarrStoreWriter, hdf5_store.Hdf5StoreWriter):
        reports.watch(store, "__init__", "make store")
        reports.watch(store, "stream", "make stream")
        reports.watch(store, "close", "close")
    reports.watch(zarr_store._OpenPart, "__init__", "open part")
    reports.watch(zarr_store._OpenPart, "seal", "seal")
    reports.watch(compact, "_remove", "remove")
    _report_plan(reports)


def _report_commits(writer, reports):
    inner = writer.commit

    def commit(self, video, times_R2):
        with reports.at("commit"):
            inner(self, video, times_R2)
        reports.event("commit", self.name, video.id)

    writer.commit = commit
    writer.name = property(lambda self: getattr(self, "_name", None) or self._folder.name)


def _report_plan(reports):
    inner = plan.plan_jobs

    def plan_jobs(*args, **keywords):
        planned = inner(*args, **keywords)
        reports.events(
            [
                ("plan", stream, job.video.id)
                for job in planned.jobs
                for stream in sorted(job.streams)
            ]
        )
        return planned

    plan.plan_jobs = plan_jobs
