import itertools
import math

import numpy as np
import pytest
import torch

from train.model.set_matching import generalized_iou, match, set_loss_sum
from train.task import IGNORED

NOTHING = 3


def tensors(*arrays):
    return [torch.tensor(array) for array in arrays]


def random_batch(seed=0, windows=2, slots=4, truths=3):
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(windows, slots, NOTHING + 1)), dtype=torch.float32)
    bounds = rng.random((windows, slots + truths, 2))
    bounds = torch.tensor(np.sort(bounds, axis=2), dtype=torch.float32)
    labels = torch.tensor(rng.integers(NOTHING, size=(windows, truths)))
    return logits, bounds[:, :slots], labels, bounds[:, slots:]


def cost(logits, predicted, label, truth):
    (a, b), (c, d) = predicted.tolist(), truth.tolist()
    overlap, hull = max(0, min(b, d) - max(a, c)), max(b, d) - min(a, c)
    union = b - a + d - c - overlap
    giou = overlap / union - (hull - union) / hull
    return -logits.softmax(-1)[label].item() + 5 * (abs(a - c) + abs(b - d)) - 2 * giou


def test_generalized_iou_tells_near_from_far():
    first = torch.tensor([[0.0, 0.2], [0.0, 0.2], [0.0, 0.4]])
    second = torch.tensor([[0.0, 0.2], [0.8, 1.0], [0.2, 0.6]])
    expected = [1.0, -0.6, 0.2 / 0.6]
    assert generalized_iou(first, second).tolist() == pytest.approx(expected)


def test_the_match_is_the_cheapest_of_all_permutations():
    logits, predicted, labels, truth = random_batch()
    windows, slots, truths = match(logits, predicted, labels, truth, torch.tensor([3, 2]))
    for window, count in ((0, 3), (1, 2)):
        costs = {
            chosen: sum(
                cost(
                    logits[window, slot],
                    predicted[window, slot],
                    labels[window, g],
                    truth[window, g],
                )
                for g, slot in enumerate(chosen)
            )
            for chosen in itertools.permutations(range(4), count)
        }
        own = windows == window
        found = dict(zip(truths[own].tolist(), slots[own].tolist(), strict=True))
        assert tuple(found[g] for g in range(count)) == min(costs, key=costs.__getitem__)


def test_more_segments_than_predictions_leave_some_without():
    logits, predicted, labels, truth = random_batch(slots=2, truths=3)
    windows, slots, truths = match(logits, predicted, labels, truth, torch.tensor([3, 3]))
    assert windows.tolist() == [0, 0, 1, 1]
    assert sorted(slots[:2].tolist()) == [0, 1]
    assert len(set(truths[:2].tolist())) == 2


def test_the_loss_is_the_sum_of_class_and_boundary_terms():
    logits = torch.zeros(1, 2, NOTHING + 1)
    logits[0, 0, 1] = 2.0
    predicted, truth = tensors([[[0.0, 0.5], [0.6, 0.9]]], [[[0.0, 0.4]]])
    found = set_loss_sum(logits, predicted, torch.tensor([[1]]), truth, torch.tensor([1]))
    matched = -math.log(math.exp(2) / (math.exp(2) + 3))
    nothing = math.log(4)
    expected = (matched + 0.1 * nothing) / 1.1 + 5 * 0.1 + 2 * (1 - 0.4 / 0.5)
    assert found.total.item() == pytest.approx(expected)
    assert found.num_targets == 1


def test_a_window_without_segments_learns_that_there_is_nothing():
    logits = torch.zeros(1, 2, NOTHING + 1)
    predicted = torch.rand(1, 2, 2)
    empty = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, 0, 2)
    found = set_loss_sum(logits, predicted, *empty, torch.tensor([0]))
    assert (found.total.item(), found.num_targets) == (pytest.approx(math.log(4)), 1)


def test_windows_add_up_and_those_that_do_not_count_add_nothing():
    logits, predicted, labels, truth = random_batch(windows=3)
    counts = torch.tensor([3, IGNORED, 2])
    labels[1], truth[1], labels[2, 2], truth[2, 2] = IGNORED, math.nan, IGNORED, math.nan
    logits.requires_grad_()
    together = set_loss_sum(logits, predicted, labels, truth, counts)
    alone = [
        set_loss_sum(logits[[i]], predicted[[i]], labels[[i]], truth[[i]], counts[[i]]).total.item()
        for i in (0, 2)
    ]
    assert (together.total.item(), together.num_targets) == (pytest.approx(sum(alone)), 2)
    together.total.backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[1].any()


def test_a_batch_that_does_not_count_is_a_zero_with_a_graph():
    logits, predicted, labels, truth = random_batch(windows=1)
    logits.requires_grad_()
    counts = torch.tensor([IGNORED])
    found = set_loss_sum(logits, predicted, labels * 0 + IGNORED, truth * math.nan, counts)
    found.total.backward()
    assert (found.total.item(), found.num_targets, logits.grad.abs().sum().item()) == (0, 0, 0)
