"""Processes that train one model together: who they are, and how the model lies on them.

    ddp     every process has the whole model; the gradients are averaged
    fsdp    every process has its part of each weight; a block of the LLM is whole only while it
            computes, so that N processes hold an LLM that is too large for one

Either way each process works on its share of every batch. With one process both are the plain
model. Owns every exchange of weights between processes; a saved run is the same whatever wrote it.

FSDP is torch's ``fully_shard`` itself: accelerate offers it for GPUs only, and wants an optimizer
that was made before the weights are cut.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Literal, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from cache_schema.errors import ConfigError
from train.checkpoint import load_optimizer, optimizer_tensors
from train.model import TrainedWeights, VideoLLM, load_trained, trained_weights
from train.tuning import blocks_of

__all__ = ["Mode", "ParallelModel", "make_accelerator", "whole"]

Mode = Literal["ddp", "fsdp"]

LONGEST_WAIT = timedelta(hours=2)
"""Others wait while the main process measures the features, scores a submission or writes."""


def make_accelerator(device: str, *, several_tasks: bool = False) -> Accelerator:
    """Return this process's accelerator.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        several_tasks: A step then uses one of several heads, which processes must allow for.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch sees no GPU here. Use --device cpu.")
    options = [
        DistributedDataParallelKwargs(find_unused_parameters=several_tasks),
        InitProcessGroupKwargs(timeout=LONGEST_WAIT),
    ]
    return Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=options)


class ParallelModel:
    """A model, placed on the devices of all processes."""

    def __init__(self, model: VideoLLM, accelerator: Accelerator, mode: Mode) -> None:
        """Move the model to the device, or this process's part of it; before the optimizer is made.

        Args:
            model: The same in all processes, on the CPU.
            accelerator: This process's device and its fellows.
            mode: How the model is spread.
        """
        self.model = model
        self._accelerator = accelerator
        self.is_sharded = mode == "fsdp" and accelerator.num_processes > 1
        """Whether a call of the model needs all processes."""
        self._replica: nn.Module = model
        if self.is_sharded:
            _shard(model, accelerator)
        else:
            model.to(accelerator.device)

    def connect(self) -> None:
        """Make all processes' weights one: from here on gradients are exchanged."""
        if not self.is_sharded:
            self._replica = self._accelerator.prepare_model(self.model)

    def __call__(self, *inputs: object) -> dict[str, Tensor]:
        """Return the model's outputs in training mode."""
        self._replica.train()
        outputs: dict[str, Tensor] = self._replica(*inputs)
        return outputs

    @contextmanager
    def adding_up(self) -> Iterator[None]:
        """Keep gradients in this process, for all but the last micro-batch of a step."""
        if self.is_sharded:
            sharded = cast("FSDPModule", self.model)
            sharded.set_requires_gradient_sync(False)
            try:
                yield
            finally:
                sharded.set_requires_gradient_sync(True)
        else:
            with self._accelerator.no_sync(self._replica):
                yield

    def trained_weights(self) -> TrainedWeights:
        """Return what a checkpoint keeps, on the main process; all must ask."""
        self._cut_again()
        own = trained_weights(self.model)
        return replace(own, model=self._whole(own.model), adapter=self._whole(own.adapter))

    def optimizer_tensors(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Return the optimizer's state for a checkpoint, on the main process; all must ask."""
        self._cut_again()
        return self._whole(optimizer_tensors(optimizer, self.model))

    def load(self, weights: TrainedWeights, *, where: str) -> None:
        """Fill the model with what ``trained_weights`` returned.

        Raises:
            CheckpointError: if names or shapes are not the model's.
        """
        self._cut_again()
        own = trained_weights(self.model)
        parts = replace(
            weights,
            model=_all_parts(weights.model, own.model),
            adapter=_all_parts(weights.adapter, own.adapter),
        )
        load_trained(self.model, parts, where=where)

    def load_optimizer(self, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Fill the optimizer with what ``optimizer_tensors`` returned.

        Raises:
            CheckpointError: if a tensor belongs to no parameter.
        """
        load_optimizer(optimizer, self.model, tensors)
        for parameter, state in optimizer.state.items():
            for name, value in state.items():
                if value.shape == parameter.shape:  # the step counter is one number
                    state[name] = _part(value, parameter)

    def _cut_again(self) -> None:
        """Give up what a call without a backward pass has left whole; its weights are copies."""
        if self.is_sharded:
            cast("FSDPModule", self.model).reshard()

    def _whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made = {}
        for name, tensor in tensors.items():
            gathered = whole(tensor.detach())  # one after the other: all at once may be too much
            if self._accelerator.is_main_process:
                made[name] = gathered.cpu()
        return made


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may lie in parts on the processes; all must ask for the same."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _all_parts(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A name or shape that is not the model's is left for the check of all of them.
    return {
        name: _part(tensor, own[name])
        if name in own and own[name].shape == tensor.shape
        else tensor
        for name, tensor in tensors.items()
    }


def _part(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut this process's part out of a tensor that every process has."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(
        tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )


def _shard(model: VideoLLM, accelerator: Accelerator) -> None:
    """Cut every weight into one part per process.

    Each block of the LLM is gathered by itself when it is called. The rest (embeddings, final
    norm, translator, heads) is gathered once a step and stays whole until its gradient is there.
    """
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for block in blocks_of(model.llm.stack) if model.llm is not None else ():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
