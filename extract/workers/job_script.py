"""A batch script that fills a store by a SLURM job array: text in the user's hand, no dask.

The command line as it was typed -> the same one for each task, with its ``--shard``.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cache_schema.place import Place
from extract.workers.config import ClusterConfig

__all__ = ["job_script"]

TEMPLATE = """\
#!/usr/bin/env bash
# Fills {store} by a job array: sbatch THIS_FILE
# Any task may be killed, requeued or submitted again, and may even run twice at a time: what is
# committed is passed over. "vllm-store info {store}" says what is done.
{directives}
{prologue}
set -euo pipefail

PYTHON={python}
# A file of this folder that has the name of a package is not imported.
export PYTHONSAFEPATH=1
export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-{cores}}}"
cd -- {folder}
exec "$PYTHON" -c 'from extract.cli import main; main()' \\
    --shard "${{SLURM_ARRAY_TASK_ID:?submit this file with sbatch}}/{count}" \\
    {arguments}
"""


def job_script(
    arguments: Sequence[str], store: Place, config: ClusterConfig, *, python: str, folder: Path
) -> str:
    """Return a script for ``sbatch`` whose tasks share the videos.

    Args:
        arguments: Of ``vllm-extract``, for all tasks the same.
        store: For the comments.
        config: Number of tasks, and what each may use.
        python: Interpreter that has this package.
        folder: Where relative paths start.
    """
    return TEMPLATE.format(
        # In a comment a line break would end it, and the rest of the name be run.
        store=shlex.quote(" ".join(str(store).split())),
        directives="\n".join(f"#SBATCH {line}" for line in _directives(config)),
        python=shlex.quote(os.fspath(python)),
        cores=config.cores,
        prologue="\n".join(config.prologue),
        folder=shlex.quote(os.fspath(folder)),
        arguments=shlex.join(arguments),
        count=config.max_jobs,
    )


def _directives(config: ClusterConfig) -> list[str]:
    named = {"partition": config.partition, "account": config.account}
    return [
        "--job-name=vllm-extract",
        f"--array=0-{config.max_jobs - 1}",
        "--ntasks=1",
        f"--cpus-per-task={config.cores}",
        f"--mem={config.memory_gib}G",
        f"--time={config.walltime}",
        *(f"--{name}={value}" for name, value in named.items() if value),
        *config.requests,
    ]
