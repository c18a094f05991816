import pytest
import torch
from torch import nn

from train.stream.packed_linears import PackedLinears


def network(dtype=torch.bfloat16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 48, bias=False)).to(dtype)


@pytest.fixture
def packs():
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16 arithmetic")


@pytest.mark.parametrize("num_tokens", [1, 7])
def test_products_are_those_of_the_layers_up_to_rounding(packs, num_tokens):
    layers = network()
    inputs = torch.randn(1, num_tokens, 64).bfloat16()
    packed = PackedLinears(layers)
    assert len(packed) == 2
    with torch.inference_mode():
        expected = layers(inputs)
        with packed.in_use():
            got = layers(inputs)
    torch.testing.assert_close(got, expected, rtol=2**-7, atol=2**-7)


def test_only_the_copies_are_used_inside_and_only_the_layers_outside(packs):
    layers = network()
    packed = PackedLinears(layers)
    inputs = torch.randn(1, 64).bfloat16()
    with torch.inference_mode():
        expected = layers(inputs)
        for linear in (layers[0], layers[2]):
            linear.weight.zero_()  # the copies do not see it
        with packed.in_use():
            torch.testing.assert_close(layers(inputs), expected, rtol=2**-7, atol=2**-7)
        assert not layers(inputs).any()


def test_layers_come_back_after_an_error(packs):
    layers = network()
    packed = PackedLinears(layers)
    with pytest.raises(ValueError, match="stop"), packed.in_use():
        raise ValueError("stop")
    assert "forward" not in layers[0].__dict__


def test_float32_is_left_alone():
    assert len(PackedLinears(network(torch.float32))) == 0


def test_without_the_operators_nothing_is_packed(monkeypatch):
    monkeypatch.setattr("train.stream.packed_linears.ONEDNN", object())
    assert len(PackedLinears(network())) == 0
