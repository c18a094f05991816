"""A batch script that trains on several nodes of a SLURM cluster: text in the user's hand.

The command line as it was typed -> the same one for each process, started by torchrun.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from train.config import JobConfig

__all__ = ["job_script"]

SECONDS_TO_SAVE = 120
"""Between SLURM's signal and the end of the walltime: one step, one checkpoint, and leaving."""

TEMPLATE = """\
#!/usr/bin/env bash
# Trains on {nodes} node(s) with {processes} process(es) each: sbatch THIS_FILE
# {seconds} s before the walltime ends the step in progress is finished and saved, and the job goes
# back into the queue; --resume goes on from there, also after a node was lost.
{directives}
{prologue}
set -euo pipefail

export PATH={binaries}:"$PATH"
# A file of this folder that has the name of a package is not imported.
export PYTHONSAFEPATH=1
export OMP_NUM_THREADS={threads}
# How long torchrun, when stopped, lets its processes save.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={grace}
cd -- {folder}

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))

srun --kill-on-bad-exit=1 --cpus-per-task={cores} \\
    torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node={processes} --max-restarts=0 \\
    --rdzv-id="$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}" \\
    --rdzv-backend=c10d --rdzv-endpoint="$head:$port" \\
    --no-python vllm-train \\
    {arguments} &
step=$!

time_is_up=
stop() {{
    time_is_up=yes
    scancel --signal=TERM "$SLURM_JOB_ID.0"
}}
trap stop USR1

code=0
wait "$step" || code=$?
if [[ $time_is_up ]]; then # the signal ended that wait, not the training
    code=0
    wait "$step" || code=$?
    if ((code)); then exec scontrol requeue "$SLURM_JOB_ID"; fi
fi
exit "$code"
"""


def job_script(
    arguments: Sequence[str],
    config: JobConfig,
    *,
    binaries: Path,
    folder: Path,
    runs: Path | None = None,
    device: str = "auto",
) -> str:
    """Return a script for ``sbatch`` that starts a training run, or goes on with it.

    Args:
        arguments: Of ``vllm-train``.
        config: Nodes, and what of each.
        binaries: Folder of the commands ``vllm-train`` and ``torchrun``.
        folder: Where relative paths start.
        runs: Where the job makes its run, ``job-<id>``: a number would be another run's if that one
            were started between two turns. None if arguments or settings say where it lies.
        device: That arguments or settings say.
    """
    processes = max(1, config.gpus)
    resuming = [] if "--resume" in arguments else ["--resume"]
    return TEMPLATE.format(
        nodes=config.nodes,
        processes=processes,
        seconds=SECONDS_TO_SAVE,
        grace=SECONDS_TO_SAVE - 20,
        directives="\n".join(f"#SBATCH {line}" for line in _directives(config)),
        prologue="\n".join(config.prologue),
        binaries=shlex.quote(os.fspath(binaries)),
        cores=config.cores,
        threads=max(1, config.cores // processes),
        folder=shlex.quote(os.fspath(folder)),
        arguments=_device(config, device) + shlex.join([*arguments, *resuming]) + _own_folder(runs),
    )


def _device(config: JobConfig, device: str) -> str:
    # Without a GPU the processes would not look for each other.
    is_on_cpu = not config.gpus and not any("gpu" in line for line in config.directives)
    return "--device cpu \\\n    " if is_on_cpu and device == "auto" else ""


def _own_folder(runs: Path | None) -> str:
    # The shell of the job puts in its id, which stays the same when it is queued again.
    return f' --out {shlex.quote(os.fspath(runs))}/job-"$SLURM_JOB_ID"' if runs else ""


def _directives(config: JobConfig) -> list[str]:
    return [
        "--job-name=vllm-train",
        f"--nodes={config.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={config.cores}",
        *([f"--gpus-per-node={config.gpus}"] if config.gpus else []),
        f"--time={config.walltime}",
        "--requeue",
        f"--signal=B:USR1@{SECONDS_TO_SAVE}",
        "--open-mode=append",
        *config.directives,
    ]
