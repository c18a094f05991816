"""What workers are forked from, seen from one of them."""

import json
import os
import subprocess
import sys

from extract.workers.fork_server import ENVIRONMENT

LOOK = """
import json, multiprocessing, os, signal, sys
from pathlib import Path
from extract.workers.fork_server import start_fork_server

def look(answer):
    status = Path("/proc/self/status").read_text()
    answer.send({
        "modules": [name for name in ("torch", "distributed", sys.argv[1]) if name in sys.modules],
        "threads": len(list(Path("/proc", str(os.getppid()), "task").iterdir())),
        "environment": dict(os.environ),
        "blocks_ctrl_c": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "uses_gpu": sys.modules["torch"].cuda.is_initialized(),
    })

if __name__ == "__main__":
    before = dict(os.environ)
    start_fork_server([sys.argv[2]])
    assert dict(os.environ) == before
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("forkserver").Process(target=look, args=(theirs,))
    child.start()
    print(json.dumps(ours.recv()))
    child.join()
"""


def seen_by_a_worker(folder, module, encoder):
    (folder / "queue.py").write_text("raise SystemExit('a module of the current folder')")
    (folder / "look.py").write_text(LOOK)
    environment = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-P", "look.py", module, encoder],
        cwd=folder, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_worker_has_what_it_needs_and_nothing_that_a_fork_breaks(tmp_path):
    module = "extract.encode.encoders.efficientnet"
    seen = seen_by_a_worker(tmp_path, module, "efficientnet_lite0")
    assert seen["modules"] == ["torch", "distributed", module]
    assert seen["threads"] == 1
    assert ENVIRONMENT.items() <= seen["environment"].items()
    assert seen["blocks_ctrl_c"]
    assert not seen["uses_gpu"]


def test_the_code_of_others_is_not_run_there(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('run too early')")
    seen = seen_by_a_worker(tmp_path, "transformers", "mine.py:Mine")
    assert seen["modules"] == ["torch", "distributed"]
