"""The GPU path against the CPU's: bfloat16, copies, compile, FSDP, a whole run."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

from tests import conftest
from tests.train.loop.parallel_runs import start_group, wait_for
from tests.train.runs import UNCHANGED, make_config, make_trainer, use_toy_task, with_optim
from tests.train.toy import ToyTask, make_features
from train.checkpoints.checkpoint import read_checkpoint
from train.checkpoints.folder import LAST
from train.config import SideConfig
from train.data.batches import BatchReader
from train.data.samples import find_rows
from train.run import train
from train.task import Window

DEVICE = "cuda"
needs_cuda = pytest.mark.needs_cuda


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    yield use_toy_task(monkeypatch)
    on("cpu")


def on(device):
    """Let the next run choose its device: accelerate keeps the first choice of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return device


def losses(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "train"]


def answer(root, device, **llm):
    """Return the logits of one batch, and the gradient that its loss gives the translator."""
    config = make_config(root, augment=UNCHANGED, device=device)
    config = replace(config, llm=replace(config.llm, **llm))
    trainer = make_trainer(config, root / "run", device=on(device))
    trainer._standardise()
    task, (batch,) = next(trainer._batches(0, 0))
    outputs = trainer.model(batch.features_BTD, batch.valid_BT, task.facts.name)
    task.loss(outputs, batch.targets).total.backward()
    gradient = trainer.model.translator.linear.weight.grad
    return outputs["current"].detach().float().cpu(), gradient.float().cpu()


@needs_cuda
def test_bfloat16_on_the_gpu_is_near_float32_on_the_cpu(tmp_path):
    logits, gradient = answer(tmp_path, DEVICE, dtype="bfloat16")
    right_logits, right_gradient = answer(tmp_path, "cpu")
    # bfloat16 keeps 8 bits, a relative error of 0.004 in each of some dozen operations.
    assert float((logits - right_logits).abs().max()) < 0.05 * float(right_logits.abs().max())
    cosine = torch.cosine_similarity(gradient.flatten(), right_gradient.flatten(), dim=0)
    assert float(cosine) > 0.99


@needs_cuda
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of its own parts
def test_a_compiled_llm_gives_the_same_numbers(tmp_path):
    logits, gradient = answer(tmp_path, DEVICE, compile=True)
    plain_logits, plain_gradient = answer(tmp_path, DEVICE)
    torch.testing.assert_close(logits, plain_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-3, atol=1e-4)


@needs_cuda
def test_trainable_weights_stay_float32_beside_a_bfloat16_llm(tmp_path):
    config = make_config(tmp_path, device=DEVICE, tuning="lora:2")
    config = replace(config, llm=replace(config.llm, dtype="bfloat16"))
    trainer = make_trainer(config, tmp_path / "run", device=on(DEVICE))
    assert trainer.accelerator.device.type == DEVICE
    frozen, trained = (
        {value.dtype for value in trainer.model.parameters() if value.requires_grad is wanted}
        for wanted in (False, True)
    )
    assert frozen == {torch.bfloat16}
    assert trained == {torch.float32}


@needs_cuda
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_batches_copied_from_pinned_memory_in_the_background_are_whole(tmp_path, dtype):
    task = ToyTask()
    stream = make_features(tmp_path / "f.zarr", task, dtype=dtype).stream()
    rows = find_rows(task.samples("train"), stream, allow_missing=0).rows
    batches = [
        [Window(sample=sample, start=start, stop=start + 8) for sample in (0, 2)]
        for start in (0, 1, 2, 3, 5, 8, 13)
    ]
    on_gpu = BatchReader(task.targets, stream, rows, torch.device(DEVICE))
    on_cpu = BatchReader(task.targets, stream, rows, torch.device("cpu"))
    copied = [on_gpu.read(windows) for windows in batches]
    assert on_gpu._buffer.is_pinned()
    for batch, windows in zip(copied, batches, strict=True):
        right = on_cpu.read(windows)
        assert torch.equal(batch.features_BTD.cpu(), right.features_BTD)
        assert torch.equal(batch.targets["current"].cpu(), right.targets["current"])
        assert torch.equal(batch.valid_BT.cpu(), right.valid_BT)


@needs_cuda
def test_two_epochs_on_the_gpu_are_those_on_the_cpu(tmp_path):
    # Which windows a network beside the LLM reads alone is drawn on the device.
    side = SideConfig(width=0)
    config = with_optim(make_config(tmp_path, augment=UNCHANGED, side=side), epochs=2)
    for device in ("cpu", DEVICE):
        train(replace(config, device=on(device), out=str(tmp_path / device)), resume=False)
    assert losses(tmp_path / DEVICE) == pytest.approx(losses(tmp_path / "cpu"), rel=1e-3)
    assert read_checkpoint(tmp_path / DEVICE / LAST)[0].progress.num_epochs == 2


@needs_cuda
def test_a_run_begun_on_the_cpu_goes_on_on_the_gpu(tmp_path):
    config = make_config(tmp_path, augment=UNCHANGED, checkpoint_steps=1)
    cut = make_trainer(config, tmp_path / "run", device=on("cpu"))
    step = cut._step
    cut._step = lambda *batch: step(*batch) if cut.progress.step < 4 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        cut.train()
    train(replace(config, device=on(DEVICE)), resume=True)
    assert len(losses(tmp_path / "run")) == 6


@needs_cuda
def test_fsdp_off_and_on_give_the_same_run(tmp_path):
    wait_for(start_group("modes", tmp_path, DEVICE, size=max(1, torch.cuda.device_count())))
    assert losses(tmp_path / "fsdp") == pytest.approx(losses(tmp_path / "ddp"), rel=1e-4)


def item(*markers):
    known = {name: object() for name in markers}
    return SimpleNamespace(get_closest_marker=known.get)


def test_without_a_gpu_a_test_that_needs_one_is_skipped_or_failed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("REQUIRE_CUDA", raising=False)
    conftest.pytest_runtest_setup(item())
    with pytest.raises(pytest.skip.Exception, match="no GPU here"):
        conftest.pytest_runtest_setup(item("needs_cuda"))
    monkeypatch.setenv("REQUIRE_CUDA", "1")
    with pytest.raises(pytest.fail.Exception, match="REQUIRE_CUDA=1, but torch sees no GPU"):
        conftest.pytest_runtest_setup(item("needs_cuda"))
