"""The process that this machine's workers are forked from: it imports once what all of them need.

Started anew, each would import torch and the code of its network: 2 to 4 CPU-seconds, all of them
at the same time. What is imported there starts no thread and does not look at GPUs: neither
outlives a fork.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.forkserver import _forkserver

from extract.encode.encoders import ENCODERS
from extract.encode.encoders.foreign import find_foreign

__all__ = ["ENVIRONMENT", "ForkServer", "without_ctrl_c"]

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
    # GPU availability is asked of the driver, without initialising CUDA.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
"""Of that process, and so of the workers."""


class ForkServer:
    """Python's fork server while a run needs it: a process has one, and it may be somebody else's.

    Python can start it and never says how to end it (its own tests do); left alone, the program
    that called us would have its later processes forked from it, with all of ``ENVIRONMENT``.
    """

    def __init__(self) -> None:
        self._is_ours = False

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def start_method(self) -> str:
        """How workers are to be started, as ``multiprocessing`` calls it."""
        return "forkserver" if self._is_ours else "spawn"

    def start(self, encoders: Sequence[str]) -> None:
        """Start it, and return at once; where a program has one already, nothing happens.

        Args:
            encoders: What workers will load.
        """
        if _pid() is not None:
            return
        modules = {module for name in encoders for module in _modules(name)}
        _forkserver.set_forkserver_preload(["extract.workers.worker", *sorted(modules)])
        try:
            with without_ctrl_c(), _environment(ENVIRONMENT):
                _forkserver.ensure_running()
        except OSError:
            # Its socket lies among temporary files, and may have a name of 108 bytes at most. A
            # job's folder for these can be longer: then workers are spawned, which takes longer.
            _forkserver.set_forkserver_preload(["__main__"])
            return
        self._is_ours = True

    def close(self) -> None:
        """End it; workers have ended."""
        if self._is_ours:
            self._is_ours = False
            _forkserver.set_forkserver_preload(["__main__"])  # as it was
            if (pid := _pid()) is not None:
                # Else it would be waited for until the last worker has ended.
                os.kill(pid, signal.SIGKILL)
                _forkserver._stop()  # type: ignore[attr-defined]  # see the class


def _pid() -> int | None:
    """Return the id of the fork server's process, None if there is none."""
    pid: int | None = _forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


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
