"""Which GPU a worker takes, by its name and what its process sees."""

from types import SimpleNamespace

import pytest
import torch

from extract.config import ExtractConfig
from extract.workers.worker import Order, WorkerSession


def device_of(name, tmp_path, asked="auto"):
    order = Order(
        run="r",
        config=ExtractConfig(device=asked),
        store=tmp_path / "f.zarr",
        streams=(),
        returns_rows=False,
        num_threads=None,
    )
    session = WorkerSession(order)
    session.setup(SimpleNamespace(name=name))
    return session._device()


@pytest.mark.parametrize(
    ("name", "num_gpus", "device"),
    [
        (0, 4, "cuda:0"),
        (3, 4, "cuda:3"),
        (5, 4, "cuda:1"),  # more workers than GPUs share them
        (7, 1, "cuda:0"),
        ("SLURMCluster-3", 1, "cuda:0"),  # the third job, which sees its own GPU alone
        ("SLURMCluster-12-2", 4, "cuda:2"),  # the third process of a job
        ("tcp://10.0.0.7:34567", 8, "cuda:7"),  # started by hand without a name: the port counts
        ("tcp://node", 8, "cuda:0"),
        ("gpu-box", 8, "cuda:0"),
    ],
)
@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_worker_i_takes_the_ith_gpu(monkeypatch, tmp_path, name, num_gpus, device, asked):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    assert device_of(name, tmp_path, asked) == device


@pytest.mark.parametrize(
    ("asked", "num_gpus"), [("auto", 0), ("cuda", 0), ("cpu", 4), ("cuda:1", 4)]
)
def test_a_device_that_was_named_or_is_not_there_is_left_to_torch(
    monkeypatch, tmp_path, asked, num_gpus
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    assert device_of(1, tmp_path, asked) == asked
