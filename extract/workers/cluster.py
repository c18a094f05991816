"""Where workers come from: this machine, a dask scheduler that runs, or SLURM.

Progress is never asked of them: the store's commits tell what is done.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dask
from distributed import Client, LocalCluster
from distributed.deploy import Cluster

from cache_schema.errors import ConfigError, PipelineError
from extract.encode.cpu_threads import threads_for
from extract.workers.config import ClusterConfig
from extract.workers.fork_server import without_ctrl_c

__all__ = ["Workers", "open_workers"]

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 30
NO_DASHBOARD = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
"""dask listens all the same, so it does on a port that is free and for this machine alone."""
DASK_SETTINGS = {
    # The run itself hands a bundle out again, so that it can count whom it kills.
    "distributed.scheduler.allowed-failures": 0,
    # Adaptive scaling must not think that bundles are done in a second.
    "distributed.scheduler.default-task-durations": {"extract_bundle": "1h"},
    # A worker holds an encoder, not dask's data: there is nothing to spill, and a paused worker
    # would wait for ever for memory that is its own.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}

KEEP_PLACE = {"distributed.deploy.lost-worker-timeout": "1h"}
"""A worker that died is started again in its place, however long that takes: by default its place
is given up after 15 s."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Worker processes to send bundles to."""

    client: Client
    most: Callable[[], int]
    """How many bundles may be out at a time."""
    num_threads: int | None
    """Cores of each; None if only they know."""
    wait_seconds: float
    """How long to wait while there is no worker at all."""


@contextmanager
def open_workers(
    cluster: str | None, num_local: int, config: ClusterConfig, start_method: str = "spawn"
) -> Iterator[Workers]:
    """Yield workers that end with the block, except those of a scheduler that was there before.

    Args:
        cluster: ``slurm``, the address of a dask scheduler, or None for processes of this machine.
        num_local: How many processes, without a cluster.
        config: What to ask SLURM for.
        start_method: Of ``multiprocessing``, for processes of this machine.

    Raises:
        ConfigError: if the cluster's name is no name, or what it needs is not installed.
        PipelineError: if no worker comes.
    """
    starting = {"distributed.worker.multiprocessing-method": start_method}
    with dask.config.set(DASK_SETTINGS | starting):
        if cluster is None:
            opened = _local(num_local)
        elif cluster == "slurm":
            opened = _slurm(config)
        elif "://" in cluster:
            opened = _existing(cluster, config)
        else:
            raise ConfigError(
                f"--cluster {cluster}: expected slurm, or the address of a dask scheduler such as "
                "tcp://host:8786."
            )
        with opened as workers:
            _wait(workers, cluster or "this machine")
            yield workers


def _wait(workers: Workers, where: str) -> None:
    try:
        workers.client.wait_for_workers(1, timeout=workers.wait_seconds)
    except TimeoutError as error:
        raise PipelineError(
            f"{where}: no worker came within {workers.wait_seconds:.0f} s ([cluster] "
            "wait_seconds). Look at the batch system's queue and at the workers' logs."
        ) from error


@contextmanager
def _local(num_workers: int) -> Iterator[Workers]:
    # In effect until all is closed: dask looks the setting up when a worker is lost.
    with dask.config.set(KEEP_PLACE), _quiet_dask():
        with without_ctrl_c():
            cluster = _local_cluster(num_workers)
        with cluster, Client(cluster) as client:
            yield Workers(
                client=client,
                most=lambda: num_workers,
                num_threads=threads_for(num_workers),
                wait_seconds=CONNECT_SECONDS * 4,
            )


@contextmanager
def _quiet_dask() -> Iterator[None]:
    """Have no notes on connections that close while it shuts down: they look like failures."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _local_cluster(num_workers: int) -> LocalCluster:
    try:
        return LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            dashboard_address=NO_DASHBOARD["dashboard_address"],
            scheduler_kwargs=NO_DASHBOARD,
            # None: a fair share of the machine may be less than an encoder needs, and what is too
            # much for the machine is the kernel's to judge.
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise PipelineError(
            "this machine: workers did not start. What they said stands above; a script must ask "
            'for workers under if __name__ == "__main__": (they import it).'
        ) from error


@contextmanager
def _existing(address: str, config: ClusterConfig) -> Iterator[Workers]:
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise PipelineError(f"{address}: no dask scheduler answers there ({error}).") from error
    with client:
        yield Workers(
            client=client,
            most=lambda: max(1, len(client.nthreads())),
            num_threads=None,
            wait_seconds=config.wait_seconds,
        )


@contextmanager
def _slurm(config: ClusterConfig) -> Iterator[Workers]:
    with _slurm_cluster(config) as cluster:
        _check_job_script(cluster.job_script())
        cluster.adapt(minimum_jobs=config.min_jobs, maximum_jobs=config.max_jobs)
        with Client(cluster) as client:
            yield Workers(
                client=client,
                most=lambda: config.max_jobs * config.workers_per_job,
                num_threads=max(1, config.cores // config.workers_per_job),
                wait_seconds=config.wait_seconds,
            )


def _slurm_cluster(config: ClusterConfig) -> Cluster:
    if shutil.which("sbatch") is None:
        raise ConfigError("--cluster slurm: no sbatch here. Run this where jobs are submitted.")
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ConfigError(
            "--cluster slurm needs dask-jobqueue: pip install 'video-feature-llm[cluster]'. "
            "--print-job-script does without."
        ) from error
    interface = {"interface": config.interface} if config.interface else {}
    return SLURMCluster(
        job_name="vllm-extract",
        queue=config.partition or None,
        account=config.account or None,
        cores=config.cores,
        processes=config.workers_per_job,
        memory=f"{config.memory_gib}GiB",
        walltime=config.walltime,
        python=sys.executable,
        interface=config.interface or None,
        # As it is: dask-jobqueue writes it unquoted, and SLURM starts from the same folder.
        log_directory=config.log_folder,
        job_extra_directives=config.requests,
        job_script_prologue=_prologue(config),
        death_timeout=CONNECT_SECONDS * 2,
        scheduler_options=NO_DASHBOARD | interface,
    )


def _prologue(config: ClusterConfig) -> list[str]:
    """Return the shell lines before a worker starts: its dask reads settings of its own."""
    memory = [
        f"export DASK_DISTRIBUTED__WORKER__MEMORY__{name}=False"
        for name in ("TARGET", "SPILL", "PAUSE")
    ]
    return ["export PYTHONSAFEPATH=1", *memory, *config.prologue]


def _check_job_script(script: str) -> None:
    """Ask SLURM whether it would take the job: dask only logs that it did not."""
    done = subprocess.run(
        ["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PipelineError(
            f"--cluster slurm: {done.stderr.strip()}. See [cluster] in your settings."
        )
