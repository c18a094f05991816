"""Runs of the toy task for tests of several processes; as a program, such processes.

One pair of processes does all of them: starting one takes longer than a run. It and the one that is
killed are forked from a program that has imported what they need.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from tests.train.model.tiny_llms import save_tiny_tokenizer
from tests.train.runs import make_config
from tests.train.toy import ToyAnswers, ToyTask
from train import prepare as prepare_module
from train import run as run_module
from train.config import AugmentConfig, OptimConfig, TextConfig
from train.loop.trainer import Trainer
from train.run import train

REPOSITORY = Path(__file__).parents[3]
CUT_AFTER = 3
"""Steps, of 6: in the middle of the second of three epochs."""


class QueryAnswers(ToyAnswers):
    """Reads a text before the rows, and two learned tokens behind them."""

    appended_tokens = 2


class QueryTask(ToyTask):
    """Has a text for every video."""

    def samples(self, subset):
        words = ["where", "is", "it", "the", "cat", "dog"]
        return [
            replace(sample, query=" ".join(words[: len(words) - place]))
            for place, sample in enumerate(super().samples(subset))
        ]


ASKING = QueryAnswers(name="asking", query_place="before")
TASKS = {"toy": ToyTask(), "asking": QueryTask(answers=ASKING)}
KINDS = {
    "lora": {"tuning": "lora:2"},
    "prompt": {"tuning": "prompt:2"},
    "last": {"tuning": "last"},
    "query": {"task": ("asking",)},
    "two": {"task": ("toy", "asking"), "annotations": ("none", "none")},
}
WHOLE_RUNS = (
    ("lora", "fsdp"),
    ("prompt", "fsdp"),
    ("last", "fsdp"),
    ("query", "ddp"),
    ("query", "fsdp"),
    ("two", "ddp"),
)


def config_of(root, kind, out="", **settings):
    """Five windows, three a step in micro-batches of one: two steps an epoch, both uneven."""
    fixed = {
        "augment": AugmentConfig(noise_std=0.1, feature_dropout=0.1, state_dropout=0.1),
        "optim": OptimConfig(epochs=3, batch_size=3, micro_batch_size=1, lr=0.01),
        "text": TextConfig(max_tokens=8),
        "checkpoint_steps": 1,
    }
    config = make_config(root, out=str(root / (out or kind)), **fixed, **KINDS[kind], **settings)
    if not (root / "llm" / "tokenizer.json").exists():
        save_tiny_tokenizer(root / "llm")
    return config


def use_tasks():
    prepare_module.load_task = lambda name, annotations, options: TASKS[name]
    run_module.all_options = lambda name, options: dict(options)
    run_module.leave_report = leave_no_report


def leave_no_report(*_):
    """Spare a run its page, which one process writes and which takes as long as the training."""


@contextmanager
def ending(how, after):
    """Call ``how`` once so many steps are done, and saved if they do not end an epoch."""
    save = Trainer._pause_inside_epoch

    def save_and_end(trainer, log):
        save(trainer, log)
        if trainer.progress.step == after:
            how()

    Trainer._pause_inside_epoch = save_and_end
    try:
        yield
    finally:
        Trainer._pause_inside_epoch = save


def leave():
    raise InterruptedError


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def run_pair(root):
    """Do everything that takes two processes, in this one of them."""
    for kind, mode in WHOLE_RUNS:
        train(config_of(root, kind, f"{kind}-{mode}", parallel=mode), resume=False)
    train(config_of(root, "lora", "killed-ddp", parallel="ddp"), resume=True)
    for first, second in (("ddp", "fsdp"), ("fsdp", "ddp")):
        out = f"lora-{first}-{second}"
        with suppress(InterruptedError), ending(leave, CUT_AFTER):
            train(config_of(root, "lora", out, parallel=first), resume=False)
        if os.environ["RANK"] == "0":
            shutil.copytree(root / out, root / f"lora-{first}-one")
        train(config_of(root, "lora", out, parallel=second), resume=True)
    os.chdir(root)
    for resume in (False, False, True):
        train(replace(config_of(root, "lora"), out=""), resume=resume)


def run_modes(root, device):
    """Train with FSDP off and on."""
    for mode in ("ddp", "fsdp"):
        train(config_of(root, "lora", mode, parallel=mode, device=device), resume=False)


def flatten_as_for_cudnn(module):
    """Do on a CPU what ``flatten_parameters`` does on a GPU: move the weights into one tensor."""
    weights = module._flat_weights
    if any(isinstance(one, DTensor) for one in weights):
        return
    flat = torch.cat([one.detach().flatten() for one in weights])
    for one, part in zip(weights, flat.split([one.numel() for one in weights]), strict=True):
        one.data = part.view(one.shape)


def start(role, root, *words, **environment):
    """Start a process with a role, see the end of this file."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.loop.parallel_runs", role, root, *words],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_group(role, root, *words, size):
    """Start processes that know of each other, as a launcher does."""
    meeting = meeting_of(size)
    return [
        start(role, root, *words, RANK=str(rank), LOCAL_RANK=str(rank), **meeting)
        for rank in range(size)
    ]


def meeting_of(size):
    """Return the variables by which so many processes find each other."""
    with socket.socket() as asked:
        asked.bind(("localhost", 0))
        port = str(asked.getsockname()[1])
    return {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": port}


def wait_for(processes):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output


def fork(role, **environment):
    """Return the number of a process that does this, with what this one has imported."""
    sys.stdout.flush()
    if (process := os.fork()) == 0:
        os.environ.update(environment)
        sys.exit(role())
    return process


def run_alone_and_as_pair(root, steps):
    """Die after so many steps, in one process; then do everything that takes two."""

    def be_killed():
        with ending(die, steps):
            train(config_of(root, "lora", "killed"), resume=False)

    _, status = os.waitpid(fork(be_killed), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    shutil.copytree(root / "killed", root / "killed-ddp")
    meeting = meeting_of(2)
    pair = [
        fork(lambda: run_pair(root), RANK=str(rank), LOCAL_RANK=str(rank), **meeting)
        for rank in range(2)
    ]
    ends = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in pair]
    assert ends == [0, 0]


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    use_tasks()
    torch.nn.RNNBase.flatten_parameters = flatten_as_for_cudnn
    if sys.argv[1] == "all":
        run_alone_and_as_pair(folder, int(sys.argv[3]))
    else:
        run_modes(folder, sys.argv[3])
