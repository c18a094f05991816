import pytest
import torch

from train.config import OptimConfig
from train.loop.optim import clip_factor, learning_rate_factor, make_optimizer, set_learning_rate


def rates(**settings):
    config = OptimConfig(lr=1.0, warmup_fraction=0.2, **settings)
    return [config.lr * learning_rate_factor(config, step, 10) for step in range(10)]


def test_rate_warms_up_and_follows_half_a_cosine():
    got = rates()
    assert got[:3] == [0.5, 1.0, 1.0]
    assert got[6] == pytest.approx(0.5)
    assert got[9] == pytest.approx(0.0380602, abs=1e-6)


def test_constant_schedule_stays_after_the_warm_up():
    assert rates(schedule="constant") == [0.5] + [1.0] * 9


def test_only_matrices_decay_and_frozen_parameters_are_left_out():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    model[1].requires_grad_(False)
    groups = make_optimizer(OptimConfig(weight_decay=0.3), model).param_groups
    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [(0.3, 1), (0, 1)]


def test_the_rate_is_a_share_of_each_groups_own_peak():
    model = torch.nn.ModuleDict({"llm": torch.nn.Linear(3, 2), "heads": torch.nn.Linear(3, 2)})
    optimizer = make_optimizer(OptimConfig(lr=1.0, llm_lr=0.1), model)
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25, 0.025, 0.025]


def test_gradients_are_clipped_as_torch_clips_them():
    for clip_norm in (0.5, 100.0):
        value = torch.nn.Parameter(torch.zeros(2))
        value.grad = torch.tensor([3.0, 4.0])
        torch.nn.utils.clip_grad_norm_([value], clip_norm)
        clipped = torch.tensor([3.0, 4.0]) * clip_factor(
            OptimConfig(clip_norm=clip_norm), torch.tensor(5.0)
        )
        torch.testing.assert_close(clipped, value.grad)
    assert clip_factor(OptimConfig(clip_norm=0.0), torch.tensor(1e9)) == 1.0


def test_one_call_updates_all_parameters():
    # The loop over single operations takes ten times as long on a CPU.
    model = torch.nn.Linear(3, 2)
    assert all(group["fused"] for group in make_optimizer(OptimConfig(), model).param_groups)
