import pytest
import torch

from train.model.heads.pointer import PointerHead
from train.task import States

WIDTH = 8


def states():
    torch.manual_seed(1)
    return States(
        rows_BTE=torch.randn(2, 5, WIDTH),
        valid_BT=torch.tensor([[True] * 5, [True] * 3 + [False] * 2]),
        final_BSE=torch.randn(2, 1, WIDTH),
        targets={},
    )


@pytest.fixture
def head():
    torch.manual_seed(0)
    return PointerHead(WIDTH)


def test_places_are_nothing_and_the_rows_and_padding_is_impossible(head):
    outputs = head(states())
    assert {name: tuple(logits.shape) for name, logits in outputs.items()} == {
        "start": (2, 6),
        "end": (2, 6),
    }
    assert outputs["start"].softmax(-1)[1, 4:].tolist() == [0, 0]
    assert (outputs["end"].softmax(-1)[0] > 0).all()


def test_a_row_changes_its_own_place_only(head):
    seen = states()
    before = head(seen)["start"]
    seen.rows_BTE[0, 2] += 1
    assert (head(seen)["start"] != before)[0].tolist() == [False, False, False, True, False, False]


def test_the_final_state_decides_where_to_point(head):
    seen = states()
    before = head(seen)
    seen.final_BSE[0] += 1
    after = head(seen)
    assert (after["start"][0, 1:] != before["start"][0, 1:]).all()
    assert (after["start"][1] == before["start"][1]).all()


def test_every_weight_learns_from_both_outputs(head):
    outputs = head(states())
    total = sum(logits.log_softmax(-1)[:, 1].sum() for logits in outputs.values())
    total.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in head.parameters())
