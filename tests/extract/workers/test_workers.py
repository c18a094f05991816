"""Extraction by several processes of this machine: one LocalCluster for all tests."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import dask
import pytest
from distributed import WorkerPlugin

import extract.run
import extract.workers.worker
from cache_schema.errors import ConfigError, PipelineError, StoreError
from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import create_store, open_store
from extract.config import ExtractConfig
from extract.decode.process import DecoderProcess
from extract.plan.jobs import plan_jobs
from extract.plan.targets import build_targets, make_streams, streams_of
from extract.report.ledger import Ledger
from extract.report.run_report import RunReport
from extract.sources.videos import find_videos
from extract.workers.cluster import open_workers
from extract.workers.config import ClusterConfig
from extract.workers.dispatch import _end, extract_on_workers
from tests.extract.running import run
from tests.extract.videos import constant_pts, repeat, write_video

NUM_VIDEOS = 8
CONFIG = ExtractConfig(encoders=("fake",), device="cpu", workers=2)
INTERRUPTED = "Interrupted. What was committed is kept; run the same again to go on."


LOST = "distributed.deploy.lost-worker-timeout"


@pytest.fixture(scope="module")
def workers():
    # A program's own setting, with which no worker that is lost would come back.
    with dask.config.set({LOST: "1ms"}), open_workers(None, 2, ClusterConfig()) as workers:
        yield workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        write_video(root / f"v{number}.mp4", constant_pts(20 + 13 * number))
    return root


@pytest.fixture(scope="module")
def serial_digest(folder, tmp_path_factory):
    store = tmp_path_factory.mktemp("serial") / "f.zarr"
    run(folder, store)
    return store_digest(open_store(store))


def extract_with(
    workers, folder, out, config=CONFIG, order=lambda jobs: jobs, on_progress=lambda seconds: None
):
    """Extract a folder on workers; return the report and the video-seconds of the bar."""
    targets = build_targets(config, None)
    with DecoderProcess() as decoder:
        videos = find_videos([str(folder)])
        plan = plan_jobs(videos, streams_of(targets), None, decoder=decoder)
    report = RunReport(store=str(out), streams=streams_of(targets), ledger=Ledger(out))
    writer = create_store(out)
    for target in targets:
        writer.stream(target.stream, target.recipe, target.encoder.row_shape)
    seconds = []
    try:
        extract_on_workers(
            order(plan.jobs),
            targets,
            writer,
            config,
            report,
            advance=lambda more: (seconds.append(more), on_progress(more)),
            workers=workers,
        )
    finally:
        writer.close()
    return report, sum(seconds)


def shuffled(jobs):
    return random.Random(0).sample(jobs, len(jobs))


class Deadly(WorkerPlugin):
    """Makes workers die at one video, a number of times."""

    def __init__(self, video_id, times, folder):
        self.name = "deadly"
        self._video_id, self._times, self._folder = video_id, times, folder

    def setup(self, worker):
        self._extract_videos = extract.workers.worker.extract_videos
        extract.workers.worker.extract_videos = self._deadly

    def teardown(self, worker):
        extract.workers.worker.extract_videos = self._extract_videos

    def _deadly(self, jobs, *args, **kwargs):
        self._extract_videos(self._watched(jobs), *args, **kwargs)

    def _watched(self, jobs):
        for job in jobs:
            deaths = len(list(self._folder.iterdir()))
            if job.video.id == self._video_id and deaths < self._times:
                (self._folder / str(deaths)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield job


@pytest.fixture
def deadly(workers, tmp_path):
    """Return a function that makes workers die at a video."""
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    yield lambda video_id, times: workers.client.register_plugin(Deadly(video_id, times, deaths))
    workers.client.unregister_worker_plugin("deadly")


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_two_workers_make_the_store_of_one_process(
    workers, folder, serial_digest, tmp_path, suffix
):
    out = tmp_path / f"f.{suffix}"
    report, seconds = extract_with(workers, folder, out)
    assert (report.num_done, report.num_rows) == (NUM_VIDEOS, open_store(out).stream().num_rows)
    assert store_digest(open_store(out)) == serial_digest
    assert seconds == pytest.approx(sum(len(constant_pts(20 + 13 * n)) for n in range(8)) / 30, 0.3)
    assert {"decode", "encode", "write"} <= set(report.busy_seconds)
    assert verify_store(out).problems == []
    journals = list(out.glob("fake/parts/*/commits.log"))
    assert all((part.parent / "zarr.json").exists() for part in journals), "parts are sealed"


@pytest.mark.parametrize("order", [lambda jobs: jobs[::-1], shuffled], ids=["reversed", "shuffled"])
def test_the_order_of_the_videos_changes_nothing(workers, folder, serial_digest, tmp_path, order):
    out = tmp_path / "f.zarr"
    report, _ = extract_with(workers, folder, out, order=order)
    assert report.num_done == NUM_VIDEOS
    assert store_digest(open_store(out)) == serial_digest


def test_four_workers_make_the_store_of_one_process(folder, serial_digest, tmp_path):
    out = tmp_path / "f.zarr"
    with open_workers(None, 4, ClusterConfig()) as four:
        four.client.wait_for_workers(4, timeout=120)
        report, _ = extract_with(four, folder, out)
    assert report.num_done == NUM_VIDEOS
    assert len(open_store(out).stream().parts) == 4, "each took videos, into one part of its own"
    assert store_digest(open_store(out)) == serial_digest


def test_a_second_run_has_nothing_to_do_and_says_so(workers, folder, tmp_path):
    run(folder, tmp_path / "f.zarr")
    report, _ = extract_with(workers, folder, tmp_path / "f.zarr")
    assert (report.num_done, report.num_skipped) == (0, NUM_VIDEOS)
    assert len(open_store(tmp_path / "f.zarr").stream().parts) == 1


def test_workers_are_told_the_name_that_was_free_when_the_stream_was_made(
    workers, folder, tmp_path, monkeypatch
):
    out = tmp_path / "f.zarr"

    def create(path):
        monkeypatch.setattr(extract.run, "create_store", create_store)
        run(folder, path, fps=4)  # between the planning and the writing of the run below
        return create_store(path)

    monkeypatch.setattr(extract.run, "create_store", create)
    monkeypatch.setattr("extract.workers.cluster.open_workers", lambda *_: nullcontext(workers))
    report = run(folder, out, workers=2)
    (name,) = report.streams
    store = open_store(out)
    assert (report.num_done, name) == (
        NUM_VIDEOS,
        f"fake-{store.streams[name].recipe.fingerprint[:8]}",
    )
    assert (len(store.streams), store.streams[name].recipe.sampling.fps) == (2, 2)


def test_a_worker_that_would_make_other_rows_is_refused(workers, folder, tmp_path, monkeypatch):
    honest = build_targets

    def other_recipe(config, store):
        (target,) = honest(config, store)
        return [replace(target, recipe=replace(target.recipe, store_dtype="bfloat16"))]

    monkeypatch.setattr(sys.modules[__name__], "build_targets", other_recipe)
    with pytest.raises(ConfigError, match=r"would make other rows.*store_dtype = bfloat16"):
        extract_with(workers, folder, tmp_path / "f.zarr")


def test_a_write_error_in_a_worker_ends_the_run(workers, folder, tmp_path):
    out = tmp_path / "f.zarr"
    targets = build_targets(CONFIG, None)
    with create_store(out) as writer:
        make_streams(targets, writer, out)
    with DecoderProcess() as decoder:
        plan = plan_jobs(find_videos([str(folder)]), ["fake"], None, decoder=decoder)
    report = RunReport(store=str(out), streams=["fake"])
    shutil.rmtree(out / "fake" / "parts")
    (out / "fake" / "parts").symlink_to("/proc/sys/kernel/random")  # nobody can write there
    with pytest.raises(StoreError, match="cannot be written"):
        extract_on_workers(
            plan.jobs, targets, None, CONFIG, report, advance=lambda _: None, workers=workers
        )


def test_an_error_of_who_is_told_of_progress_ends_the_run(workers, folder, tmp_path):
    told = []

    def fail(seconds):
        told.append(seconds)
        raise ValueError("no more of it")

    with pytest.raises(ValueError, match="no more of it"):
        extract_with(workers, folder, tmp_path / "f.zarr", on_progress=fail)
    assert len(told) == 1


def test_an_existing_scheduler_is_used_and_left_running(workers, folder, serial_digest, tmp_path):
    address = workers.client.scheduler.address
    with open_workers(address, 1, ClusterConfig()) as others:
        extract_with(others, folder, tmp_path / "f.zarr")
    assert store_digest(open_store(tmp_path / "f.zarr")) == serial_digest
    assert len(workers.client.nthreads()) == 2


@pytest.mark.parametrize(
    ("cluster", "error", "message"),
    [
        ("slrum", ConfigError, "expected slurm, or the address of a dask scheduler"),
        ("tcp://127.0.0.1:9", PipelineError, "no dask scheduler answers there"),
    ],
)
def test_a_cluster_that_is_not_there_is_said(monkeypatch, cluster, error, message):
    monkeypatch.setattr("extract.workers.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(error, match=message), open_workers(cluster, 1, ClusterConfig()):
        pass


def test_slurm_without_sbatch_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(ConfigError, match="no sbatch here"),
        open_workers("slurm", 1, ClusterConfig()),
    ):
        pass


def test_two_commands_at_once_fill_one_store(folder, serial_digest, tmp_path):
    script = "from extract.cli import main; main()"
    command = [sys.executable, "-c", script, folder, "--out", "f.zarr", "--encoder", "fake"]
    running = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    store = tmp_path / "f.zarr"
    assert store_digest(open_store(store)) == serial_digest
    assert verify_store(store).problems == []
    assert len(list(Path(store).glob("fake/parts/*/zarr.json"))) >= 1


def test_a_lost_worker_keeps_its_place_while_the_run_lasts(workers):
    lost, other = workers.client.run(os.getpid).values()
    os.kill(lost, signal.SIGKILL)
    deadline, pids = time.monotonic() + 60, [lost, other]
    while len(pids) < 2 or lost in pids:
        assert time.monotonic() < deadline, "no worker came in its place"
        time.sleep(0.1)
        pids = workers.client.run(os.getpid, on_error="ignore").values()


@pytest.mark.parametrize("fails", [True, False])
def test_a_programs_own_settings_of_dask_are_as_they_were(monkeypatch, caplog, fails):
    def start(num_workers):
        seen.append((dask.config.get(LOST), logging.getLogger("distributed").level))
        if fails:
            raise PipelineError("workers did not start.")
        return nullcontext()

    seen = []
    monkeypatch.setattr("extract.workers.cluster._local_cluster", start)
    monkeypatch.setattr("extract.workers.cluster.Client", lambda _: nullcontext(MagicMock()))
    caplog.set_level(logging.INFO, "distributed")
    with dask.config.set({LOST: "7s"}):
        with suppress(PipelineError), open_workers(None, 2, ClusterConfig()):
            pass
        assert dask.config.get(LOST) == "7s"
    assert logging.getLogger("distributed").level == logging.INFO
    assert seen == [("1h", logging.WARNING)]


def test_workers_do_not_hear_ctrl_c_and_this_process_does(workers):
    masks = workers.client.run(signal.pthread_sigmask, signal.SIG_BLOCK, [])
    assert [signal.SIGINT in mask for mask in masks.values()] == [True, True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_run_may_end_while_a_worker_that_knows_nothing_of_it_joins(workers):
    plugin = WorkerPlugin()
    plugin.name = "run"
    workers.client.subscribe_topic("run", print)
    workers.client.register_plugin(plugin)
    workers.client.run(lambda dask_worker: dask_worker.plugins.pop("run"))
    _end(workers.client, "run")


def test_ctrl_c_ends_the_workers_with_one_sentence(tmp_path):
    short = write_video(tmp_path / "long" / "a.mp4", constant_pts(150), options={"bf": "0"})
    for name in "bc":
        repeat(short, tmp_path / "long" / f"{name}.mp4", 100)
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from extract.cli import main; main()"
    )
    options = ["--encoder", "fake", "--fps", "0", "--workers", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", script, "long", "--out", "f.zarr", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            while process.poll() is None and not list(tmp_path.glob("f.zarr/fake/parts/*-*")):
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers as well
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert stderr.strip() == INTERRUPTED


def test_a_lost_workers_videos_are_taken_by_others(
    workers, folder, serial_digest, tmp_path, deadly
):
    deadly("v5", 1)
    report, _ = extract_with(workers, folder, tmp_path / "f.zarr")
    assert len(list((tmp_path / "deaths").iterdir())) == 1
    assert report.failures == []
    assert store_digest(open_store(tmp_path / "f.zarr")) == serial_digest


def test_a_video_that_kills_three_workers_goes_to_the_ledger_and_the_rest_is_done(
    workers, folder, tmp_path, deadly
):
    deadly("v6", 99)
    report, _ = extract_with(workers, folder, tmp_path / "f.zarr")
    assert len(list((tmp_path / "deaths").iterdir())) == 3
    assert report.exit_code == 3
    ((key, failure),) = Ledger(tmp_path / "f.zarr").latest().items()
    assert key == ("v6", "fake")
    assert "the worker died 3 times at it" in failure.error
    assert not failure.stands
    assert len(open_store(tmp_path / "f.zarr").stream().video_ids) == NUM_VIDEOS - 1
