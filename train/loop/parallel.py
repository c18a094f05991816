"""Processes that train one model together: who they are, and how the model lies on them.

    ddp     every process has the whole model; the gradients are averaged
    fsdp    every process has its part of each weight (``train.loop.sharding``), so that N processes
            hold an LLM that is too large for one

Either way each process works on its share of every batch; alone, a process has the plain model.
Owns every exchange of weights between processes: a saved run is the same whatever wrote it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    InitProcessGroupKwargs,
    broadcast,
)
from torch import Tensor, nn
from torch.optim import Optimizer

from cache_schema.errors import CheckpointError
from train.checkpoints.checkpoint import load_optimizer, optimizer_tensors
from train.device import choose_device
from train.loop.launch import check_launch, check_meeting
from train.model.trained_weights import TrainedWeights, load_trained, trained_weights
from train.model.video_llm import VideoLLM

__all__ = [
    "Mode",
    "ParallelModel",
    "leave_group",
    "main_process_first",
    "make_accelerator",
    "number_of_main_process",
]

Mode = Literal["ddp", "fsdp"]

LONGEST_WAIT = timedelta(hours=2)
"""Others wait while the main process measures the features, scores a submission or writes."""


def make_accelerator(device: str, *, several_tasks: bool = False) -> Accelerator:
    """Return this process's accelerator.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        several_tasks: A step then uses one of several heads, which processes must allow for.

    Raises:
        ConfigError: if a GPU is asked for and there is none, if what a launcher says is not whole,
            or if its processes have not met.
    """
    check_launch(os.environ)
    choose_device(device)
    options = [
        DistributedDataParallelKwargs(find_unused_parameters=several_tasks),
        InitProcessGroupKwargs(timeout=LONGEST_WAIT),
    ]
    made = Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=options)
    check_meeting(os.environ, made.num_processes)
    return made


def leave_group() -> None:
    """Leave the other processes, if there are some: nothing is exchanged any more.

    A process that ends while the group's threads run may be aborted, and the launcher then ends the
    others, which may still be writing.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def main_process_first(accelerator: Accelerator) -> Iterator[None]:
    """Let the other processes enter once the main one has left, also by an error.

    They then fail with the same sentence, where accelerate's own would leave them waiting until
    the connection breaks.
    """
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()


def number_of_main_process(accelerator: Accelerator, ask: Callable[[], int]) -> int:
    """Return what ``ask`` returns on the main process, on all; others do not ask.

    Args:
        accelerator: This process and its fellows.
        ask: Returns a number of at least 0.

    Raises:
        CheckpointError: on the others, if ``ask`` raised on the main process.
    """
    number = torch.tensor(-1, device=accelerator.device)
    try:
        if accelerator.is_main_process:
            number.fill_(ask())
    finally:  # also after an error, which would leave the others waiting
        number = broadcast(number)
    if number < 0:
        raise CheckpointError("The main process found no folder for the run and says why.")
    return int(number)


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
        self.is_sharded = mode == "fsdp" and accelerator.distributed_type != DistributedType.NO
        """Whether a call of the model needs all processes."""
        self._replica: nn.Module = model
        if self.is_sharded:
            from train.loop.sharding import shard

            shard(model, accelerator)
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
        if not self.is_sharded:
            with self._accelerator.no_sync(self._replica):
                yield
            return
        from train.loop.sharding import set_exchange

        set_exchange(self.model, False)
        yield
        set_exchange(self.model, True)

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor made of parameters or gradients in full; all processes must ask."""
        if not self.is_sharded:
            return tensor
        from train.loop.sharding import whole

        return whole(tensor)

    def own(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return this process's part of each, the very memory."""
        if not self.is_sharded:
            return tensors
        from train.loop.sharding import own

        return [own(tensor) for tensor in tensors]

    def trained_weights(self) -> TrainedWeights:
        """Return what a checkpoint keeps, on the main process; all must ask."""
        self._release()
        own = trained_weights(self.model)
        return replace(own, model=self._gathered(own.model), adapter=self._gathered(own.adapter))

    def optimizer_tensors(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Return the optimizer's state for a checkpoint, on the main process; all must ask."""
        self._release()
        return self._gathered(optimizer_tensors(optimizer, self.model))

    def load(self, weights: TrainedWeights, *, where: str) -> None:
        """Fill the model with what ``trained_weights`` returned.

        Raises:
            CheckpointError: if names or shapes are not the model's.
        """
        self._release()
        own = trained_weights(self.model)
        parts = replace(
            weights,
            model=self._parts(weights.model, own.model),
            adapter=self._parts(weights.adapter, own.adapter),
        )
        load_trained(self.model, parts, where=where)

    def load_optimizer(self, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
        """Fill the optimizer with what ``optimizer_tensors`` returned.

        Raises:
            CheckpointError: if a tensor belongs to no parameter.
        """
        load_optimizer(optimizer, self.model, tensors)
        for parameter, state in optimizer.state.items():
            state.update(self._parts(state, dict.fromkeys(state, parameter)))

    def _release(self) -> None:
        if self.is_sharded:
            from train.loop.sharding import release

            release(self.model)

    def _gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made = {}
        for name, tensor in tensors.items():  # one by one: all at once may be too much
            gathered = self.whole(tensor.detach())
            if self._accelerator.is_main_process:
                made[name] = gathered.cpu()
        return made

    def _parts(self, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cut tensors as the model's own of the same name are; others are left as they are."""
        if not self.is_sharded:
            return dict(tensors)
        from train.loop.sharding import part

        return {
            name: part(tensor, own[name])
            if name in own and own[name].shape == tensor.shape
            else tensor
            for name, tensor in tensors.items()
        }
