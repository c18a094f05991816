import torch

from tests.train.outputs import states_of
from train.model.heads.future import FutureHeads


def test_each_step_has_its_own_norm_and_all_share_one_layer_per_output():
    heads = FutureHeads(4, 3, {"verb": 5, "noun": 7})
    outputs = heads(states_of(torch.zeros(2, 6, 4)))
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "verb": (2, 6, 3, 5),
        "noun": (2, 6, 3, 7),
    }
    assert sum(one.numel() for one in heads.parameters()) == 3 * 2 * 4 + (4 + 1) * (5 + 7)


def test_a_step_is_the_shared_layer_on_its_norm():
    torch.manual_seed(0)
    heads = FutureHeads(4, 2, {"action": 3})
    with torch.no_grad():
        heads.norms[1].weight.fill_(2.0)
    rows = torch.randn(1, 5, 4)
    standard = (rows - rows.mean(-1, keepdim=True)) / (
        rows.var(-1, False, keepdim=True) + 1e-5
    ) ** 0.5
    layer = heads.layers["action"]
    expected = torch.stack([layer(standard), layer(2 * standard)], dim=2)
    torch.testing.assert_close(heads(states_of(rows))["action"], expected)


def test_steps_learn_different_things():
    heads = FutureHeads(4, 2, {"action": 3})
    heads(states_of(torch.randn(1, 5, 4)))["action"][:, :, 0].sum().backward()
    assert heads.norms[0].bias.grad is not None
    assert not heads.norms[1].bias.grad.any()
