"""Extraction on a real SLURM: `make test-cluster` (its name keeps `make test` from collecting it).

The default encoder is used: it is slow enough for a job to be cancelled while it works, and its
rows show whether every process computes the same bits.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cache_schema.digest import store_digest
from cache_schema.store import open_store
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
min_jobs = 2
max_jobs = {max_jobs}
interface = "lo"
partition = "{partition}"
wait_seconds = 120
"""


def settings(folder, *, max_jobs=2, partition="main"):
    (folder / "pipeline.toml").write_text(SETTINGS.format(max_jobs=max_jobs, partition=partition))


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


def test_what_slurm_refuses_is_said_at_once(site):
    settings(site, partition="nowhere")
    driver = extract(site, "refused.zarr", "--cluster", "slurm")
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert b"nvalid partition" in errors
