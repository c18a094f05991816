"""Two processes against one: DDP, FSDP, and going on from one to the other."""

import json
import random
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from cache_schema.errors import CheckpointError
from tests.train.loop import parallel_runs
from tests.train.loop.parallel_runs import (
    KINDS,
    WHOLE_RUNS,
    config_of,
    start,
    wait_for,
)
from tests.train.runs import use_tasks
from tests.train.toy import ToyTask
from train import run as run_module
from train.checkpoints.folder import LAST
from train.config import TrainConfig
from train.loop import parallel as parallel_module
from train.loop.parallel import main_process_first, number_of_main_process
from train.run import train

LOSS_TOLERANCE = 1e-5
"""Relative. Sums of float32 in another order; 4e-7 is the largest difference that was measured."""
WEIGHT_TOLERANCE = 1e-4
"""Of the largest value of each tensor, moments of AdamW included; measured: 3e-6."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of all runs: those of one process here, those of two in a pair of processes."""
    folder = tmp_path_factory.mktemp("parallel")
    with pytest.MonkeyPatch.context() as patch:
        use_tasks(patch, parallel_runs.TASKS)
        patch.setattr(run_module, "leave_report", parallel_runs.leave_no_report)
        config_of(folder, "lora")
        others = start("all", folder, str(random.randint(1, 5)))
        for kind in KINDS:
            train(config_of(folder, kind), resume=False)
        wait_for([others])
        train(config_of(folder, "lora", "killed"), resume=True)
        train(config_of(folder, "lora", "lora-fsdp-one"), resume=True)
    return folder


def log(folder, kind):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def losses(folder):
    return [(line["step"], line["loss"]) for line in log(folder, "train")]


def tensors(folder):
    names = ("model", "adapter_model", "optimizer")
    paths = [folder / LAST / f"{name}.safetensors" for name in names]
    files = {path.stem: load_file(path) for path in paths if path.exists()}
    return {(stem, name): value for stem, file in files.items() for name, value in file.items()}


def assert_same_run(folder, expected):
    assert [step for step, _ in losses(folder)] == [step for step, _ in losses(expected)]
    assert [loss for _, loss in losses(folder)] == pytest.approx(
        [loss for _, loss in losses(expected)], rel=LOSS_TOLERANCE
    )
    own, right = tensors(folder), tensors(expected)
    assert own.keys() == right.keys()
    for name, value in right.items():
        limit = WEIGHT_TOLERANCE * max(1e-6, float(value.abs().max()))
        torch.testing.assert_close(own[name], value, rtol=0, atol=limit, msg=str(name))


@pytest.mark.parametrize(("kind", "mode"), WHOLE_RUNS)
def test_two_processes_train_the_model_that_one_trains(root, kind, mode):
    assert_same_run(root / f"{kind}-{mode}", root / kind)


def test_they_score_and_pick_the_same_epoch(root):
    for kind, mode in (("query", "ddp"), ("lora", "fsdp")):
        runs = [root / f"{kind}-{mode}", root / kind]
        own, one = (log(run, "epoch") for run in runs)
        assert [line["accuracy"] for line in own] == [line["accuracy"] for line in one]
        assert [line["evaluation_loss"] for line in own] == pytest.approx(
            [line["evaluation_loss"] for line in one], rel=LOSS_TOLERANCE
        )
        progress = [json.loads((run / LAST / "run.json").read_text())["progress"] for run in runs]
        assert progress[0]["best_epoch"] == progress[1]["best_epoch"]
        assert progress[0]["num_rows"] == progress[1]["num_rows"]


def test_a_run_killed_at_any_step_goes_on_bit_for_bit(root):
    assert losses(root / "killed") == losses(root / "lora")
    own, right = tensors(root / "killed"), tensors(root / "lora")
    assert all(torch.equal(own[name], value) for name, value in right.items())


@pytest.mark.parametrize("run", ["killed-ddp", "lora-ddp-fsdp", "lora-fsdp-ddp", "lora-fsdp-one"])
def test_a_run_goes_on_with_other_processes(root, run):
    assert_same_run(root / run, root / "lora")


def test_processes_agree_on_the_number_of_a_run(root):
    runs = root / "runs" / "toy"
    assert sorted(path.name for path in runs.iterdir()) == ["1", "2"]
    for name in ("1", "2"):
        assert_same_run(runs / name, root / "lora")


@pytest.mark.parametrize("is_main", [True, False])
def test_a_main_process_that_finds_no_number_says_so_to_all(is_main, monkeypatch):
    sent = []
    monkeypatch.setattr(parallel_module, "broadcast", lambda one: sent.append(int(one)) or one)
    accelerator = SimpleNamespace(is_main_process=is_main, device="cpu")
    with pytest.raises(ZeroDivisionError if is_main else CheckpointError):
        number_of_main_process(accelerator, lambda: 1 // 0)
    assert sent == [-1]


def test_a_checkpoint_of_parts_holds_whole_tensors(root):
    shapes = {name: value.shape for name, value in tensors(root / "last").items()}
    assert {name: value.shape for name, value in tensors(root / "last-fsdp").items()} == shapes
    assert any("layers.1." in name for _, name in shapes)


def test_captions_do_not_go_with_fsdp():
    with pytest.raises(ValueError, match=r"online_captioning .* parallel = 'ddp'"):
        TrainConfig(task=("online_captioning",), annotations=("x",), parallel="fsdp")


def test_the_rows_of_a_step_are_counted_once(root):
    assert len(losses(root / "lora")) == 6
    assert [line["rows"] for line in log(root / "lora-fsdp", "train")] == [
        line["rows"] for line in log(root / "lora", "train")
    ]
    assert sum(ToyTask().train.values()) >= log(root / "lora", "train")[0]["rows"] > 0


@pytest.mark.parametrize("is_main", [True, False])
def test_an_error_of_the_main_process_does_not_leave_the_others_waiting(is_main):
    waits = []
    accelerator = SimpleNamespace(
        is_main_process=is_main, wait_for_everyone=lambda: waits.append("waited")
    )
    with suppress(InterruptedError), main_process_first(accelerator):
        waits.append("entered")
        raise InterruptedError
    assert waits == (["entered", "waited"] if is_main else ["waited", "entered"])
