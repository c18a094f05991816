"""Locking by a made-up driver; ``tests/extract/test_cuda.py`` has a real one lock memory."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from extract.decode.frame_slots import FrameMemory
from extract.encode.gpu.page_locked import lock_pages

GPU = torch.device("cuda:1")
SUCCESS, FAILURE = "success", "failure"


@pytest.fixture
def driver(monkeypatch):
    """Return what a driver was asked for, and what it answers."""
    log = SimpleNamespace(asked=[], status=SUCCESS)

    def register(address, length, flags):
        log.asked.append(("lock", address, length))
        return log.status

    cudart = SimpleNamespace(
        cudaHostRegister=register,
        cudaHostUnregister=lambda address: log.asked.append(("unlock", address)),
        cudaError=SimpleNamespace(success=SUCCESS),
    )
    zeros = torch.zeros

    def operation(*shape, device):
        log.asked.append("operation")
        raise RuntimeError("CUDA error: of before")

    monkeypatch.setattr(torch.cuda, "cudart", lambda: cudart)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch, "zeros", operation)
    yield log
    monkeypatch.setattr(torch, "zeros", zeros)


def test_memory_is_locked_until_it_ends(driver):
    memory = FrameMemory(-1, 2**16)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    lock_pages(memory, GPU)
    frame = np.frombuffer(memory, np.uint8, 10)
    del memory
    assert driver.asked == [("lock", address, 2**16)]
    del frame
    assert driver.asked[1:] == [("unlock", address)]


def test_what_cannot_be_locked_is_left_and_its_error_does_not_meet_others(driver):
    driver.status = FAILURE
    memory = FrameMemory(-1, 2**16)
    lock_pages(memory, GPU)
    del memory
    assert [one if one == "operation" else one[0] for one in driver.asked] == ["lock", "operation"]
