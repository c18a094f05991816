"""The process that this machine's workers are forked from: it imports once what all of them need.

Started anew, each would import torch and the code of its network: 2 to 4 CPU-seconds, all of them
at the same time. What is imported there starts no thread and does not look at GPUs: neither
outlives a fork.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, resource_tracker

from extract.encode.encoders import ENCODERS
from extract.encode.encoders.foreign import find_foreign

__all__ = ["ENVIRONMENT", "start_fork_server", "without_ctrl_c"]

ENVIRONMENT = {
    # Its libraries are to have one thread while others are forked, and so are workers, who encode
    # on several threads of their own.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The C library gives back memory that is freed, as dask has it.
    "MALLOC_TRIM_THRESHOLD_": "65536",
    # Equal texts have equal hashes in all workers, as dask has it.
    "PYTHONHASHSEED": "6640",
    # Modules are not taken from the folder that happens to be the current one.
    "PYTHONSAFEPATH": "1",
    # Whoever asks whether there is a GPU asks its driver, and does not begin to use it.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
"""Of that process, and so of the workers."""


def start_fork_server(encoders: Sequence[str]) -> None:
    """Start it, and return at once; if it runs already, nothing happens.

    Args:
        encoders: What workers will load.
    """
    modules = {module for name in encoders for module in _modules(name)}
    get_context("forkserver").set_forkserver_preload(["extract.workers.worker", *sorted(modules)])
    with without_ctrl_c(), _environment(ENVIRONMENT):
        forkserver.ensure_running()


def _modules(encoder: str) -> Iterator[str]:
    if encoder in ENCODERS:
        yield ENCODERS[encoder].partition(":")[0]
    elif find_foreign(encoder) is None:  # who knows what the code of others starts
        yield "extract.encode.encoders.pretrained"


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait, and never reach processes that are started in the block or by its threads.

    A terminal sends it to every process. It is for this one, which then ends its workers; theirs
    would end in tracebacks, and be replaced.
    """
    resource_tracker.ensure_running()  # the thread that starts it hears Ctrl-C ever after
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Give processes that are started in the block other variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
