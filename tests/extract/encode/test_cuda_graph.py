"""When a graph is recorded and used; ``tests/extract/test_cuda.py`` sees real ones give rows."""

import warnings

import pytest
import torch

from extract.encode.encoders import EncoderOptions, cuda_graph, load_encoder
from extract.encode.encoders.cuda_graph import GraphedEncoder, graphed


class Plain:
    """An encoder of a made-up GPU: rows are sums; remembers its batches."""

    recipe = preprocess = None
    row_shape = (1,)
    frames_per_window = 1
    device = torch.device("cuda:1")

    def __init__(self):
        self.batches = []

    def encode(self, pixels_BFCHW):
        self.batches.append(len(pixels_BFCHW))
        return pixels_BFCHW.flatten(1).sum(1, keepdim=True)


class MadeUpGraph:
    """Repeats an encoder's sums, or some that are off."""

    off = 0.0

    def __init__(self, encoder, pixels_BFCHW):
        self.shape = pixels_BFCHW.shape
        self.num_batches = 0

    def encode(self, pixels_BFCHW):
        assert pixels_BFCHW.shape == self.shape
        self.num_batches += 1
        return pixels_BFCHW.flatten(1).sum(1, keepdim=True) + self.off


def batch(size):
    return torch.rand(size, 1, 3, 4, 4)


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(cuda_graph, "_Graph", MadeUpGraph)


def test_the_size_that_comes_twice_in_a_row_goes_by_a_graph_from_then_on(made_up):
    plain = Plain()
    encoder = GraphedEncoder(plain)
    for size in (4, 2, 4, 4, 4, 4, 2, 2, 4):
        pixels_BFCHW = batch(size)
        assert torch.equal(encoder.encode(pixels_BFCHW), Plain().encode(pixels_BFCHW))
    assert plain.batches == [4, 2, 4, 4, 2, 2]
    assert encoder._graph.num_batches == 1 + 3, "one to compare, and those behind it"


def test_a_graph_of_other_bits_is_not_used_nor_recorded_again(made_up, monkeypatch):
    monkeypatch.setattr(MadeUpGraph, "off", 1e-6)
    plain = Plain()
    encoder = GraphedEncoder(plain)
    for _ in range(5):
        pixels_BFCHW = batch(4)
        assert torch.equal(encoder.encode(pixels_BFCHW), Plain().encode(pixels_BFCHW))
    assert plain.batches == [4] * 5
    assert encoder._graph is None


def test_what_cannot_be_recorded_goes_on_as_before(monkeypatch):
    tried = []

    def refuse(encoder, pixels_BFCHW):
        tried.append(len(pixels_BFCHW))
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(cuda_graph, "_Graph", refuse)
    plain = Plain()
    encoder = GraphedEncoder(plain)
    for _ in range(5):
        encoder.encode(batch(4))
    assert (tried, plain.batches) == ([4], [4] * 5)


@pytest.mark.parametrize("waits", [True, False])
def test_whether_a_network_waits_is_asked_of_torch_and_disturbs_no_other_thread(monkeypatch, waits):
    modes = [0]

    class Network(Plain):
        def encode(self, pixels_BFCHW):
            assert modes[-1] == "warn", "another thread would be stopped"
            if waits:  # as torch words it, in c10/cuda/CUDAFunctions.cpp
                warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
            warnings.warn("of another kind", stacklevel=1)
            return super().encode(pixels_BFCHW)

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    assert cuda_graph._waits(Network(), batch(4)) is waits
    assert modes == [0, "warn", 0]


def test_on_a_cpu_there_is_nothing_to_record():
    encoder = load_encoder("fake", EncoderOptions(device="cpu"))
    assert graphed(encoder) is encoder
