"""The real command, started by torchrun as two processes: stopped by SIGTERM, resumed, compared."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from tests.train.annotations.annotation_folders import breakfast_folder
from tests.train.model.tiny_llms import save_tiny_llm
from tests.train.toy import labels_of, learnable, make_store
from train.checkpoints.folder import LAST
from train.checkpoints.result import METRICS
from train.cli import train

TOLERANCE = 1e-5
"""Relative, after 40 steps. Sums of float32 in another order; measured: 6e-7."""
CLASSES = ("SIL", "pour", "stir")
ROWS = {"t1": 70, "t2": 150, "t3": 240, "t4": 96, "v1": 80, "v2": 33, "v3": 51}
TRAIN = [name for name in ROWS if name.startswith("t")]
VAL = [name for name in ROWS if name.startswith("v")]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """18 windows in steps of 4 (the last of 2), micro-batches of one: 5 steps an epoch."""
    root = tmp_path_factory.mktemp("launch")
    make_store(root / "f.zarr", {name: learnable(name, rows) for name, rows in ROWS.items()})
    labels = {name: [CLASSES[k] for k in labels_of(name, rows)] for name, rows in ROWS.items()}
    breakfast_folder(root / "bf", labels, train=TRAIN, test=VAL)
    save_tiny_llm("llama", root / "llm")
    settings = [
        *("llm.num_layers=0", "llm.dtype=float32", "data.window_rows=32", "data.context_rows=8"),
        *("tasks.action_segmentation.label_fps=2", "checkpoint_steps=1000"),
        "optim.micro_batch_size=1",
        *("augment.noise_std=0.1", "augment.feature_dropout=0.1", "augment.state_dropout=0.1"),
    ]
    words = ["--task", "action_segmentation", "--device", "cpu", "--epochs", "8"]
    words += ["--features", root / "f.zarr", "--annotations", root / "bf", "--llm", root / "llm"]
    words += ["--batch-size", "4", *(f"--set=train.{one}" for one in settings)]
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def one(arguments, tmp_path_factory):
    """The folder of the run of one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    CliRunner().invoke(train, [*arguments, "--out", str(folder)], catch_exceptions=False)
    return folder


@pytest.fixture(scope="module")
def two(arguments, tmp_path_factory):
    """The folder of the run of two, and what torchrun said when they were stopped half-way."""
    folder = tmp_path_factory.mktemp("two") / "run"
    with torchrun([*arguments, "--out", str(folder)]) as launched:
        wait_for_step(folder, 7, launched)
        for child in children(launched.pid):
            os.kill(child, signal.SIGTERM)
        said, _ = launched.communicate(timeout=120)
    stopped = {"code": launched.returncode, "said": said, "step": len(losses(folder))}
    with torchrun([*arguments, "--out", str(folder), "--resume"]) as launched:
        said, _ = launched.communicate(timeout=120)
    assert launched.returncode == 0, said
    return folder, stopped


def torchrun(arguments):
    """Start the command as a user does; the console script need not be on the search path."""
    binaries = Path(sys.executable).parent
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*launcher, "--standalone", "--no-python", "vllm-train", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{binaries}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_step(folder, step, launched):
    while not (folder / METRICS).exists() or len(losses(folder)) < step:
        assert launched.poll() is None, launched.stdout.read()
        time.sleep(0.002)


def children(process):
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [
        int(child)
        for child in text.split()
        if "vllm-train" in Path(f"/proc/{child}/cmdline").read_text()
    ]


def losses(folder):
    lines = [line for line in (folder / METRICS).read_text().splitlines() if line.endswith("}")]
    return [line["loss"] for line in map(json.loads, lines) if line["kind"] == "train"]


def test_two_processes_have_the_loss_curve_of_one(one, two):
    folder, _ = two
    assert len(losses(one)) == 8 * 5
    assert losses(folder) == pytest.approx(losses(one), rel=TOLERANCE)


def test_their_weights_are_those_of_one(one, two):
    own, right = (load_file(folder / LAST / "model.safetensors") for folder in (two[0], one))
    assert own.keys() == right.keys()
    for name, value in right.items():
        limit = TOLERANCE * float(value.abs().max())
        torch.testing.assert_close(own[name], value, rtol=0, atol=limit)


def test_sigterm_ends_both_after_the_same_step_with_everything_saved(two):
    _, stopped = two
    assert stopped["code"] == 1  # torchrun's own code; its report names that of the command
    assert "exitcode  : 143" in stopped["said"]
    assert f"by SIGTERM after step {stopped['step']} of 40, which is saved" in stopped["said"]
