"""A clock that asks a GPU's own events; here they are made up, for there is no GPU."""

import contextlib

import pytest
import torch

from extract.encode.gpu import clock as clock_module
from extract.encode.gpu.clock import GpuClock

GPU = torch.device("cuda:1")


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that has a made-up GPU work for some milliseconds."""
    asked = []
    now = [0.0]

    class Event:
        def __init__(self, *, enable_timing, blocking):
            assert enable_timing
            assert blocking, "a core would be busy with waiting"

        def record(self):
            self.at = now[0]

        def synchronize(self):
            asked.append("wait")

        def elapsed_time(self, end):
            return end.at - self.at

    @contextlib.contextmanager
    def device(one):
        asked.append(one)
        yield

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", device)

    def does(milliseconds):
        now[0] += milliseconds
        return now[0]

    does.asked = asked
    return does


def test_without_a_gpu_there_is_no_figure():
    clock = GpuClock()
    with clock.around(torch.device("cpu")):
        pass
    assert clock.seconds is None


def test_seconds_inside_blocks_add_up(gpu):
    clock = GpuClock()
    gpu(1000)
    for milliseconds in (250, 500):
        with clock.around(GPU):
            gpu(milliseconds)
        gpu(4000)
    assert clock.seconds == 0.75
    assert clock.seconds == 0.75
    assert gpu.asked[:2] == [GPU, GPU]


def test_where_blocks_of_two_streams_overlap_time_is_counted_once(gpu):
    clock = GpuClock()
    for start, end in ((0, 100), (50, 130), (60, 90), (200, 210)):
        gpu(start - gpu(0))
        with clock.around(GPU):
            gpu(end - start)
    assert clock.seconds == pytest.approx(0.14)


def test_nothing_waits_for_the_gpu_but_for_the_oldest_of_many_blocks(gpu, monkeypatch):
    monkeypatch.setattr(clock_module, "MOST_OPEN", 2)
    clock = GpuClock()
    for number in range(3):
        assert "wait" not in gpu.asked
        with clock.around(GPU):
            gpu(10 * (number + 1))
    assert gpu.asked.count("wait") == 1
    assert clock.seconds == pytest.approx(0.06)
