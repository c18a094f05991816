import pytest
import torch

from train.model.heads.moments import MomentHead
from train.task import States

WIDTH, MOMENTS, CLASSES = 8, 5, 3


def states(num_tokens, seed=0):
    torch.manual_seed(seed)
    return States(
        rows_BTE=torch.randn(2, 7, WIDTH),
        valid_BT=torch.ones(2, 7, dtype=torch.bool),
        final_BSE=torch.randn(2, num_tokens, WIDTH),
        targets={},
    )


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MomentHead(WIDTH, MOMENTS, CLASSES)


@pytest.mark.parametrize("num_tokens", [1, MOMENTS])
def test_every_moment_has_class_logits_and_a_segment(head, num_tokens):
    outputs = head(states(num_tokens))
    assert outputs["classes"].shape == (2, MOMENTS, CLASSES + 1)
    assert outputs["segments"].shape == (2, MOMENTS, 2)
    assert (outputs["segments"][..., 0] <= outputs["segments"][..., 1]).all()


def test_moments_of_one_token_differ_from_the_start(head):
    segments = head(states(1))["segments"][0]
    assert len({tuple(row) for row in segments.tolist()}) == MOMENTS


def test_with_one_token_per_moment_each_sees_its_own_only(head):
    seen = states(MOMENTS)
    before = head(seen)["classes"]
    seen.final_BSE[:, 2] += torch.randn(WIDTH)
    changed = (head(seen)["classes"] != before).any(dim=2).any(dim=0)
    assert changed.tolist() == [False, False, True, False, False]


def test_a_moment_is_its_own_normalisation_and_shared_linear_layers(head):
    seen = states(1)
    norm = torch.nn.LayerNorm(WIDTH)
    norm.weight.data, norm.bias.data = head.scale_ME.data[3], head.shift_ME.data[3]
    memory = norm(seen.final_BSE[:, 0])
    torch.testing.assert_close(head(seen)["classes"][:, 3], head.classes(memory))
