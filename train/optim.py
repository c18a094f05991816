"""The optimizer and its learning rate, which is a pure function of the step."""

import math

import torch
from torch import nn

from train.config import OptimConfig

__all__ = ["learning_rate", "make_optimizer", "set_learning_rate"]


def learning_rate(config: OptimConfig, step: int, num_steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine down to zero.

    Args:
        config: Peak, share of warm-up and kind of decay.
        step: From 0.
        num_steps: Of the whole run.
    """
    warmup_steps = math.ceil(config.warmup_fraction * num_steps)
    if step < warmup_steps:
        return config.lr * (step + 1) / warmup_steps
    if config.schedule == "constant":
        return config.lr
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(config: OptimConfig, model: nn.Module) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; vectors get no weight decay."""
    trainable = [value for value in model.parameters() if value.requires_grad]
    groups = [
        {
            "params": [value for value in trainable if value.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [value for value in trainable if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = value
