"""What workers are forked from, seen from one of them and from a program's later processes."""

import json
import os
import subprocess
import sys

from extract.workers.fork_server import ENVIRONMENT

PROGRAM = """
import json, multiprocessing, os, signal, sys
from pathlib import Path
from extract.workers.fork_server import ForkServer

def look(answer):
    answer.send({
        "modules": [name for name in ("torch", "distributed", sys.argv[1]) if name in sys.modules],
        "threads": len(list(Path("/proc", str(os.getppid()), "task").iterdir())),
        "environment": dict(os.environ),
        "blocks_ctrl_c": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "uses_gpu": "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized(),
    })

def show(method):
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context(method).Process(target=look, args=(theirs,))
    child.start()
    print(json.dumps(ours.recv()))
    child.join()

if __name__ == "__main__":
    before = dict(os.environ)
    with ForkServer() as forks, ForkServer() as others:
        forks.start([sys.argv[2]])
        others.start([])
        assert dict(os.environ) == before
        assert (forks.start_method, others.start_method) == ("forkserver", "spawn")
        show(forks.start_method)
        others.close()
        show(forks.start_method)
    show("forkserver")
"""


def seen(folder, module, encoder):
    """Return what two workers and a later process of the program see."""
    (folder / "queue.py").write_text("raise SystemExit('a module of the current folder')")
    (folder / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-P", "program.py", module, encoder],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return map(json.loads, done.stdout.splitlines())


def test_workers_have_what_they_need_and_nothing_that_a_fork_breaks(tmp_path):
    module = "extract.encode.encoders.efficientnet"
    *workers, _ = seen(tmp_path, module, "efficientnet_lite0")
    assert len(workers) == 2
    for worker in workers:
        assert worker["modules"] == ["torch", "distributed", module]
        assert worker["threads"] == 1
        assert ENVIRONMENT.items() <= worker["environment"].items()
        assert worker["blocks_ctrl_c"]
        assert not worker["uses_gpu"]


def test_the_code_of_others_is_not_run_there(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('run too early')")
    *workers, _ = seen(tmp_path, "transformers", "mine.py:Mine")
    assert [worker["modules"] for worker in workers] == [["torch", "distributed"]] * 2


def test_a_program_s_later_processes_have_nothing_of_it(tmp_path):
    *_, later = seen(tmp_path, "transformers", "fake")
    assert later["modules"] == []
    assert not ENVIRONMENT.keys() & later["environment"].keys()
    assert not later["blocks_ctrl_c"]


def test_with_a_long_folder_for_temporary_files_workers_are_spawned(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    program = """
from extract.workers.fork_server import ForkServer
with ForkServer() as forks:
    forks.start([])
    print(forks.start_method)
"""
    environment = {**os.environ, "TMPDIR": str(folder)}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout == "spawn\n"
