"""The optimizer and its learning rate, which is a pure function of the step."""

import math

import torch
from torch import Tensor, nn

from train.config import OptimConfig

__all__ = ["clip_factor", "learning_rate_factor", "make_optimizer", "set_learning_rate"]


def learning_rate_factor(config: OptimConfig, step: int, num_steps: int) -> float:
    """Return a step's share of the peak learning rate: linear warm-up, then half a cosine to zero.

    Args:
        config: Share of warm-up and kind of decay.
        step: From 0.
        num_steps: Of the whole run.
    """
    warmup_steps = math.ceil(config.warmup_fraction * num_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def clip_factor(config: OptimConfig, norm: Tensor) -> Tensor:
    """Return what gradients of this norm are multiplied with, so that it is at most the largest.

    Examples:
        >>> clip_factor(OptimConfig(clip_norm=2.0), torch.tensor([1.0, 8.0]))
        tensor([1.0000, 0.2500])
        >>> clip_factor(OptimConfig(clip_norm=0.0), torch.tensor(8.0))
        tensor(1.)
    """
    if not config.clip_norm:
        return torch.ones_like(norm)
    return (config.clip_norm / (norm + 1e-6)).clamp(max=1.0)


def make_optimizer(config: OptimConfig, model: nn.Module) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; vectors get no weight decay.

    The fused one: a single pass over each tensor instead of one for every operation.
    """
    groups = []
    for reads_rows, rate in ((False, config.lr), (True, config.llm_lr)):
        trainable = [
            value
            for name, value in model.named_parameters()
            if value.requires_grad and name.startswith(("llm.", "side.")) == reads_rows
        ]
        matrices = [value for value in trainable if value.ndim > 1]
        vectors = [value for value in trainable if value.ndim <= 1]
        groups += [
            {"params": matrices, "peak_lr": rate, "weight_decay": config.weight_decay},
            {"params": vectors, "peak_lr": rate, "weight_decay": 0.0},
        ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.lr, fused=True
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
