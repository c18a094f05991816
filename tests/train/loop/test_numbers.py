"""What a step tells of itself, and that nothing else in it waits for the device."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cache_schema.errors import PipelineError
from tests.train.runs import make_config, make_trainer, use_toy_task
from train.loop.numbers import ComingNumbers, StepNumbers
from train.model.losses import cross_entropy_sum
from train.tasks.highlight_detection import HighlightDetection

ATEN = torch.ops.aten
ASKING = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.masked_select.default,
    ATEN.repeat_interleave.Tensor,
    ATEN.bincount.default,
    ATEN.equal.default,
}
"""Operations whose result, or its size, the CPU must know."""


class NothingIsAsked(TorchDispatchMode):
    """Fails where a GPU would have to be waited for."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        indices = args[1] if operation.name().startswith("aten::index") else ()
        by_mask = any(getattr(index, "dtype", None) == torch.bool for index in indices)
        assert operation not in ASKING, operation
        assert not by_mask, operation
        return operation(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    return use_toy_task(monkeypatch)


def test_a_step_asks_the_device_for_nothing_but_its_numbers(tmp_path):
    """Those are read by ``tolist``, which is no operation that is dispatched."""
    trainer = make_trainer(make_config(tmp_path, tuning="lora:2"), tmp_path / "run")
    trainer._standardise()
    task, batches = next(trainer._batches(0, 0))
    with NothingIsAsked():
        trainer._step(task, batches)


def test_what_asks_the_device_is_seen():
    values = torch.zeros(2)
    with NothingIsAsked():
        values[torch.tensor([1, 0])]
        with pytest.raises(AssertionError, match="_local_scalar_dense"):
            float(values[0])
        with pytest.raises(AssertionError, match="index"):
            values[torch.tensor([True, False])]


def test_losses_of_rows_ask_the_device_for_nothing():
    targets = torch.tensor([[1, -100, 0]])
    saliency = torch.tensor([[1.0, torch.nan, 4.0]])
    with NothingIsAsked():
        cross_entropy_sum(torch.randn(1, 3, 2), targets)
        HighlightDetection.loss(None, {"saliency": torch.randn(1, 3, 1)}, {"saliency": saliency})


def test_numbers_are_those_of_the_step():
    numbers = ComingNumbers(torch.tensor([6.0, 4.0, 9.0, 2.0])).read()
    assert numbers == StepNumbers(total=6, targets=4, rows=9, norm=2)
    assert numbers.loss == 1.5


@pytest.mark.parametrize("numbers", [(math.nan, 4, 9, 2), (6, 4, 9, math.inf)])
def test_what_is_not_finite_is_refused_with_its_videos(numbers):
    StepNumbers(6, 4, 9, 2).refuse_if_not_finite(3, [])
    with pytest.raises(PipelineError, match=r"step 3: loss .*The batch holds a, b\. Nothing"):
        StepNumbers(*numbers).refuse_if_not_finite(3, ["b", "a", "b"])
