"""Extraction on a real SLURM: `make test-cluster` (its name keeps `make test` from collecting it).

The default encoder is used: it is slow enough for a job to be cancelled while it works, and its
rows show whether every process computes the same bits.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cache_schema.proof.digest import store_digest
from cache_schema.proof.verify import verify_store
from cache_schema.store import open_store
from tests.cluster.conftest import START
from tests.extract.videos import constant_pts, write_video

pytestmark = pytest.mark.slurm

NUM_VIDEOS = 8
EXTRACT = str(Path(sys.executable).with_name("vllm-extract"))
SETTINGS = """
[extract]
fps = 10
[cluster]
cores = 1
memory_gib = 2
walltime = "00:20:00"
min_jobs = {min_jobs}
max_jobs = {max_jobs}
interface = "lo"
partition = "{partition}"
prologue = {prologue}
wait_seconds = 120
"""
MEETING = ['touch "here.$SLURM_JOB_ID"', 'until [ "$(ls here.* | wc -l)" = 2 ]; do sleep 0.1; done']
"""Two jobs go on together."""


def settings(folder, *, min_jobs=2, max_jobs=2, partition="main", prologue=()):
    text = SETTINGS.format(
        min_jobs=min_jobs, max_jobs=max_jobs, partition=partition, prologue=json.dumps(prologue)
    )
    (folder / "pipeline.toml").write_text(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with videos and the store that one process makes of them."""
    folder = tmp_path_factory.mktemp("a site's folder")
    for number in range(NUM_VIDEOS):
        write_video(folder / "videos" / f"v{number:02d}.mp4", constant_pts(60 + 5 * number))
    settings(folder)
    extract(folder, "serial.zarr").communicate()
    return folder


def extract(folder, store, *options):
    command = [EXTRACT, "videos", "--out", store, "--json", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*command, **options):
    done = subprocess.run(command, check=True, capture_output=True, text=True, **options)
    return done.stdout.strip()


def until(condition, seconds=240):
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.1)


def num_videos(store):
    streams = open_store(store).streams.values() if store.exists() else []
    return sum(len(stream.video_ids) for stream in streams)


def jobs(*states):
    """Return the ids of all jobs (array tasks apart) that are in one of the states."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--states={','.join(states)}"]
    return run(*command).split()


def has_ended(job):
    return not any(name.split("_")[0] == job for name in jobs("PENDING", "RUNNING", "COMPLETING"))


def all_have_ended():
    return not jobs("PENDING", "RUNNING", "COMPLETING")


def crash(node):
    """Let a node lose its power: no process of it or of its jobs says goodbye."""
    folder = Path(os.environ["SLURM_CONF"]).parent
    marks = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={folder}/slurm.conf".encode()}
    doomed = {int((folder / f"slurmd-{node}.pid").read_text())}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if marks <= set((process / "environ").read_bytes().split(b"\0")):
                doomed |= {int(process.name), *_step_daemon(process)}
    for number in doomed:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _step_daemon(process):
    """Return the id of the process with which SLURM watches a job's script."""
    parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
    return [int(parent)] if Path(f"/proc/{parent}/comm").read_text() == "slurmstepd\n" else []


def test_a_job_array_with_a_task_cancelled_midway_ends_in_the_serial_store(site):
    settings(site, max_jobs=4)
    script = run(EXTRACT, "videos", "--out", "array.zarr", "--print-job-script", cwd=site)
    (site / "fill.sh").write_text(script)
    store = site / "array.zarr"
    job = run("sbatch", "--parsable", "fill.sh", cwd=site)
    until(lambda: (num_videos(store) and f"{job}_2" in jobs("RUNNING")) or has_ended(job))
    run("scancel", f"{job}_2")
    until(lambda: has_ended(job))
    assert jobs("CANCELLED") == [f"{job}_2"]
    assert 0 < num_videos(store) < NUM_VIDEOS
    again = run("sbatch", "--parsable", "--array=2", "fill.sh", cwd=site)
    until(lambda: has_ended(again))
    assert store_digest(open_store(store)) == store_digest(open_store(site / "serial.zarr"))


@pytest.mark.parametrize("suffix", ["zarr", "h5"])
def test_dask_workers_with_a_job_cancelled_midway_make_the_serial_store(site, suffix):
    settings(site)
    store = site / f"dask.{suffix}"
    driver = extract(site, store.name, "--cluster", "slurm")
    until(lambda: num_videos(store) or driver.poll() is not None)
    (first, *others) = jobs("RUNNING")
    run("scancel", first)
    output, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors.decode()
    summary = json.loads(output)
    assert summary["videos_done"] + summary["videos_skipped"] == NUM_VIDEOS
    assert len(others) == 1, "both jobs were at work"
    assert first in jobs("CANCELLED")
    assert store_digest(open_store(store)) == store_digest(open_store(site / "serial.zarr"))


def test_a_task_that_runs_twice_at_a_time_has_each_video_counted_once(site):
    settings(site, min_jobs=1, max_jobs=1, prologue=MEETING)
    script = run(EXTRACT, "videos", "--out", "twice.zarr", "--print-job-script", cwd=site)
    (site / "twice.sh").write_text(script)
    twins = [run("sbatch", "--parsable", "twice.sh", cwd=site) for _ in range(2)]
    until(lambda: all(map(has_ended, twins)))
    assert {f"{job}_0" for job in twins} <= set(jobs("COMPLETED"))
    stream = open_store(site / "twice.zarr").stream()
    assert len(stream.parts) == 2, "both wrote"
    assert len(stream.video_ids) == NUM_VIDEOS
    assert verify_store(site / "twice.zarr").problems == []
    assert store_digest(open_store(site / "twice.zarr")) == store_digest(
        open_store(site / "serial.zarr")
    )


def test_jobs_come_as_there_is_work_and_none_is_left(site):
    until(all_have_ended)
    settings(site, min_jobs=1)
    driver = extract(site, "adaptive.zarr", "--cluster", "slurm")
    seen = []
    until(lambda: seen.append(len(jobs("RUNNING"))) or seen[-1] == 2 or driver.poll() is not None)
    assert list(dict.fromkeys(seen)) == [0, 1, 2]
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors.decode()
    until(all_have_ended, seconds=30)
    assert store_digest(open_store(site / "adaptive.zarr")) == store_digest(
        open_store(site / "serial.zarr")
    )


def test_a_node_that_crashes_takes_nothing_with_it(site):
    until(all_have_ended)
    settings(site)
    store = site / "crash.zarr"
    driver = extract(site, store.name, "--cluster", "slurm")
    at_work = ("squeue", "--noheader", "--states=RUNNING", "--format=%N")
    until(
        lambda: (num_videos(store) and len(run(*at_work).split()) == 2) or driver.poll() is not None
    )
    nodes = run(*at_work).split()
    crash("two")
    _, errors = driver.communicate(timeout=300)
    assert sorted(nodes) == ["one", "two"], "both were at work"
    assert driver.returncode == 0, errors.decode()
    assert verify_store(store).problems == []
    assert store_digest(open_store(store)) == store_digest(open_store(site / "serial.zarr"))
    run(START, Path(os.environ["SLURM_CONF"]).parent)  # what is not running
    until(all_have_ended, seconds=60)


def test_what_slurm_refuses_is_said_at_once(site):
    settings(site, partition="nowhere")
    driver = extract(site, "refused.zarr", "--cluster", "slurm")
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert b"nvalid partition" in errors
