"""Runs of the toy task for tests of several processes; as a program, one of two such processes.

One pair of processes does all of them: starting one takes longer than a run.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tests.train.runs import make_config
from tests.train.tiny_llms import save_tiny_tokenizer
from tests.train.toy import ToyTask
from train import prepare as prepare_module
from train.config import AugmentConfig, OptimConfig, TextConfig
from train.session import train
from train.trainer import Trainer

REPOSITORY = Path(__file__).parents[2]
CUT_AFTER = 3


class QueryTask(ToyTask):
    """Reads a text before the rows."""

    name = "asking"
    query_place = "before"
    appended_tokens = 2

    def samples(self, subset):
        words = ["where", "is", "it", "the", "cat", "dog"]
        return [
            replace(sample, query=" ".join(words[: len(words) - place]))
            for place, sample in enumerate(super().samples(subset))
        ]


TASKS = {"toy": ToyTask(), "asking": QueryTask()}
KINDS = {
    "basic": {},
    "lora": {"tuning": "lora:2"},
    "prompt": {"tuning": "prompt:2"},
    "prefix": {"tuning": "prefix:2"},
    "last": {"tuning": "last"},
    "query": {"task": ("asking",)},
    "two": {"task": ("toy", "asking"), "annotations": ("none", "none")},
}


def config_of(root, kind, out=""):
    """Five windows, three a step in micro-batches of one: two steps an epoch, both uneven."""
    optim = OptimConfig(epochs=3, batch_size=3, micro_batch_size=1, lr=0.01)
    fixed = {"augment": AugmentConfig(), "optim": optim, "text": TextConfig(max_tokens=8)}
    settings = {**fixed, "checkpoint_steps": 1, **KINDS[kind]}
    config = make_config(root, out=str(root / (out or kind)), **settings)
    if not (root / "llm" / "tokenizer.json").exists():
        save_tiny_tokenizer(root / "llm")
    return config


def use_tasks():
    prepare_module.load_task = lambda name, annotations, options: TASKS[name]


@contextmanager
def ending(how):
    """Call ``how`` once ``CUT_AFTER`` steps are done and saved."""
    save = Trainer._save_inside_epoch

    def save_and_end(trainer):
        save(trainer)
        if trainer.progress.step == CUT_AFTER:
            how()

    Trainer._save_inside_epoch = save_and_end
    try:
        yield
    finally:
        Trainer._save_inside_epoch = save


def leave():
    raise InterruptedError


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def run_pair(root):
    """Do everything that takes two processes, in this one of them."""
    for kind in KINDS:
        for mode in ("ddp", "fsdp"):
            train(replace(config_of(root, kind, f"{kind}-{mode}"), parallel=mode), resume=False)
    for mode in ("ddp", "fsdp"):
        train(replace(config_of(root, "lora", f"killed-{mode}"), parallel=mode), resume=True)
        cut = replace(config_of(root, "lora", f"{mode}-cut"), parallel=mode)
        with suppress(InterruptedError), ending(leave):
            train(cut, resume=False)


def start(role, root, **environment):
    """Start a process with a role, see the end of this file."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.parallel_runs", role, root],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_one(root):
    """Kill a run of one process with SIGKILL in the middle of an epoch."""
    with start("killed", root) as process:
        assert process.wait(120) == -signal.SIGKILL
    for mode in ("ddp", "fsdp"):
        shutil.copytree(root / "killed", root / f"killed-{mode}")


def start_pair(root, port):
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [
        start("pair", root, RANK=str(rank), LOCAL_RANK=str(rank), **meeting) for rank in range(2)
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    use_tasks()
    if sys.argv[1] == "pair":
        run_pair(folder)
    else:
        with ending(die):
            train(config_of(folder, "lora", "killed"), resume=False)
