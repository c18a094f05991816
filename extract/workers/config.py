"""Settings of batch clusters: the [cluster] table of pipeline.toml."""

import re

from cache_schema.parsing import record

__all__ = ["ClusterConfig"]


@record
class ClusterConfig:
    """What to ask the batch system for."""

    partition: str = ""
    """SLURM partition; empty takes the cluster's default."""
    account: str = ""
    """Whom to charge; empty takes the user's default."""
    cores: int = 4
    """Of one job."""
    memory_gib: int = 16
    """Of one job."""
    walltime: str = "08:00:00"
    """Longest life of a job, ``[days-]hours:minutes:seconds``."""
    gpus: int = 0
    """Of one job; it runs one worker process for each."""
    min_jobs: int = 1
    """Jobs that ``--cluster slurm`` keeps, whatever is left to do."""
    max_jobs: int = 4
    """Most jobs of ``--cluster slurm``, and tasks of the array of ``--print-job-script``."""
    interface: str = ""
    """Network interface that workers and scheduler talk over; empty lets dask choose."""
    directives: tuple[str, ...] = ()
    """More lines for sbatch, such as ``--constraint=a100``."""
    prologue: tuple[str, ...] = ()
    """Shell lines to run first, such as ``module load cuda``."""
    log_folder: str = "slurm-logs"
    """Where ``--cluster slurm`` puts the workers' output."""
    wait_seconds: int = 3600
    """How long to wait for a worker while there is none."""

    def __post_init__(self) -> None:
        for name in ("cores", "memory_gib", "min_jobs", "wait_seconds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.max_jobs < self.min_jobs:
            raise ValueError(f"max_jobs is {self.max_jobs}, less than min_jobs {self.min_jobs}")
        if self.gpus < 0:
            raise ValueError(f"gpus is {self.gpus}, must not be negative")
        if not re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", self.walltime):
            raise ValueError(
                f"walltime is '{self.walltime}', expected [days-]hours:minutes:seconds"
            )
        for line in (*self.directives, *self.prologue, self.partition, self.account):
            if "\n" in line:
                raise ValueError(f"{line!r} has more than one line, give a list of lines")

    @property
    def workers_per_job(self) -> int:
        """One process for each GPU, or one that uses all cores."""
        return max(1, self.gpus)

    @property
    def requests(self) -> list[str]:
        """What sbatch is asked for besides cores, memory, time, partition and account."""
        gpus = [f"--gres=gpu:{self.gpus}"] if self.gpus else []
        return [*gpus, "--requeue", "--open-mode=append", *self.directives]
