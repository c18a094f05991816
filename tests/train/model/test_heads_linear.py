import torch

from tests.train.outputs import states_of
from train.model.heads.linear import LinearHeads


def test_each_output_has_one_linear_layer():
    heads = LinearHeads(4, {"current": 3, "next": 5})
    outputs = heads(states_of(torch.zeros(2, 7, 4)))
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "current": (2, 7, 3),
        "next": (2, 7, 5),
    }
    assert sum(one.numel() for one in heads.parameters()) == (4 + 1) * (3 + 5)


def test_outputs_do_not_share_weights():
    heads = LinearHeads(4, {"current": 3, "next": 3})
    outputs = heads(states_of(torch.ones(1, 1, 4)))
    outputs["current"].sum().backward()
    assert heads.layers["next"].weight.grad is None
