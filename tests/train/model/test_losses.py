import math

import pytest
import torch

from train.model.losses import cross_entropy_sum, truncated_mse_sum
from train.task import IGNORED


def test_cross_entropy_is_summed_over_valid_targets():
    logits = torch.zeros(1, 3, 4)
    loss = cross_entropy_sum(logits, torch.tensor([[0, IGNORED, 3]]))
    assert loss.num_targets == 2
    assert float(loss.total) == pytest.approx(2 * math.log(4))


def test_label_smoothing_spreads_its_share_over_all_classes():
    logits = torch.tensor([[[2.0, 0.0]]])
    log_p = logits.log_softmax(-1).flatten().tolist()
    loss = cross_entropy_sum(logits, torch.tensor([[0]]), label_smoothing=0.2)
    assert float(loss.total) == pytest.approx(-(0.9 * log_p[0] + 0.1 * log_p[1]))


def test_any_split_of_a_batch_gives_the_same_sum():
    logits, targets = torch.randn(4, 6, 5), torch.randint(5, (4, 6))
    whole = cross_entropy_sum(logits, targets)
    halves = [cross_entropy_sum(logits[i : i + 2], targets[i : i + 2]) for i in (0, 2)]
    assert float(whole.total) == pytest.approx(sum(float(one.total) for one in halves), rel=1e-5)
    assert whole.num_targets == sum(one.num_targets for one in halves)


def test_a_batch_without_targets_has_loss_0_and_finite_gradients():
    logits = torch.randn(1, 2, 3, requires_grad=True)
    targets = torch.full((1, 2), IGNORED)
    loss = cross_entropy_sum(logits, targets)
    (loss.total + truncated_mse_sum(logits, targets)).backward()
    assert (loss.total.item(), loss.num_targets) == (0.0, 0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_the_smoothing_loss_is_the_mean_square_of_log_steps():
    log_p = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.25, 0.75]]).log()
    expected = (math.log(0.25 / 0.5) ** 2 + math.log(0.75 / 0.5) ** 2) / 2
    loss = truncated_mse_sum(log_p[None], torch.zeros(1, 3, dtype=torch.long))
    assert float(loss) == pytest.approx(expected)


def test_the_smoothing_loss_is_truncated_at_4_in_log_probability():
    logits = torch.tensor([[[0.0, 0.0], [0.0, 50.0]]])
    loss = truncated_mse_sum(logits, torch.zeros(1, 2, dtype=torch.long))
    assert float(loss) == pytest.approx((4**2 + math.log(2) ** 2) / 2)


def test_the_smoothing_loss_leaves_the_earlier_row_and_ignored_rows_alone():
    logits = torch.randn(1, 4, 3, requires_grad=True)
    truncated_mse_sum(logits, torch.tensor([[0, 1, IGNORED, 2]])).backward()
    touched = logits.grad.abs().sum(-1).flatten() > 0
    assert touched.tolist() == [False, True, False, False]


def test_padding_of_nan_does_not_reach_the_smoothing_loss():
    logits = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [math.nan, math.nan]]], requires_grad=True)
    loss = truncated_mse_sum(logits, torch.tensor([[0, 0, IGNORED]]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad.isfinite().all()
