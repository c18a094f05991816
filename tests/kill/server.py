"""Fork workers from one warm process and kill them: one JSON line in, one JSON line out.

Starting Python and torch takes seconds, a fork some milliseconds, so tens of kills fit in a test.
This process has one thread and never opens a store: what it forks is as fresh as a new process.
"""

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.kill.places import PLACES, Reports, visit_mark

LONGEST_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one worker ended."""

    killed: bool
    exit_code: int
    place: str
    """Where it was when it was killed."""
    seconds: float
    events: list[list]
    """What it reported before, in order: ["commit", stream, video], ["plan", stream, video] ..."""
    stderr: str

    def of(self, kind: str) -> list[tuple[str, ...]]:
        return [tuple(rest) for name, *rest in self.events if name == kind]


class KillServer:
    """The forking process, as its user sees it."""

    def __init__(self, folder: Path) -> None:
        root = Path(__file__).parents[2]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )

    def run(
        self,
        arguments: list[str],
        seconds: float | None = None,
        place: str | None = None,
        visit: int = 1,
        file_bytes: int | None = None,
        is_root: bool = True,
        calls: int | None = None,
    ) -> Outcome:
        """Run a command of the pipeline; kill it if it lives too long.

        Args:
            arguments: The command line.
            seconds: Time until the kill; None lets the command end.
            place: The time runs from when the worker gets to this place; None: from the start.
            visit: For the so-manieth time.
            file_bytes: No file may become larger, as if the disk were full.
            is_root: False: permission bits count, even if the tests run as root.
            calls: The worker kills itself in the middle of this system call that changes a file.
        """
        request = {
            "arguments": arguments,
            "seconds": LONGEST_SECONDS if seconds is None else seconds,
            "place": place,
            "visit": visit,
            "limits": {"file_bytes": file_bytes, "is_root": is_root, "calls": calls},
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def serve() -> None:
    from tests.kill.worker import warm_up

    warm_up()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


def _run(request: dict) -> dict:
    """Fork one worker, wait for its end or kill it."""
    place = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the worker
    events, errors = os.pipe(), os.pipe()
    started = time.monotonic()
    if (worker := os.fork()) == 0:
        _work(request, Reports(place, events[1]), errors[1])
    os.close(events[1])
    os.close(errors[1])
    texts = _read_until_end(worker, (events[0], errors[0]), request)
    os.kill(worker, signal.SIGKILL)  # a zombie, if it has ended: the number is still its own
    _, status = os.waitpid(worker, 0)
    seconds = time.monotonic() - started
    for number, descriptor in enumerate((events[0], errors[0])):
        texts[number] += _drain(descriptor)
        os.close(descriptor)
    return {
        "killed": os.WIFSIGNALED(status),
        "exit_code": os.waitstatus_to_exitcode(status),
        "place": PLACES[place[0]],
        "seconds": seconds,
        # The last line may be cut short: its event was not reported.
        "events": [json.loads(line) for line in texts[0].decode().split("\n")[:-1]],
        "stderr": texts[1].decode(),
    }


def _work(request: dict, reports: Reports, errors: int) -> None:
    """Be the worker; never return."""
    from tests.kill.worker import work

    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os._exit(work(request["arguments"], request["limits"], reports))


def _read_until_end(worker: int, pipes: tuple[int, int], request: dict) -> list[bytes]:
    """Read what a worker writes until it ends or its time is over."""
    texts = [b"", b""]
    mark = visit_mark(request["place"]) if request["place"] else None
    deadline = time.monotonic() + (LONGEST_SECONDS if mark else request["seconds"])
    ended = os.pidfd_open(worker)
    try:
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([ended, *pipes], [], [], left)
            for number, pipe in enumerate(pipes):
                if pipe in ready:
                    texts[number] += os.read(pipe, 2**16)
            if ended in ready:
                break
            if mark and texts[0].count(mark) >= request["visit"]:
                deadline, mark = time.monotonic() + request["seconds"], None
    finally:
        os.close(ended)
    return texts


def _drain(pipe: int) -> bytes:
    """Return what is left in a pipe; a grandchild may still hold its other end."""
    os.set_blocking(pipe, False)
    text = b""
    with suppress(BlockingIOError):
        while part := os.read(pipe, 2**16):
            text += part
    return text


if __name__ == "__main__":
    serve()
