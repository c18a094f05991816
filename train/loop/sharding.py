"""FSDP: every process holds its part of each weight, and a block is whole only while it computes.

It is torch's ``fully_shard`` itself: accelerate offers it for GPUs only, and wants an optimizer
that was made before the weights are cut. Slow to import, so only imported where it is used.
"""

import warnings
from typing import cast

from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from train.model.llm import LanguageModel
from train.model.tuning import blocks_of
from train.model.video_llm import VideoLLM

__all__ = ["own", "part", "release", "set_exchange", "shard", "whole"]


def shard(model: VideoLLM, accelerator: Accelerator) -> None:
    """Cut every weight of a model into one part per process, on their devices.

    Each block of the LLM is gathered by itself when it is called. The rest (embeddings, final
    norm, translator, heads) is gathered once a step and stays whole until its gradient is there.
    """
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    _leave_recurrent_weights_apart(model)
    llm = model.llm
    blocks = blocks_of(llm.stack) if isinstance(llm, LanguageModel) else ()
    for module in (*blocks, model):
        sharded = fully_shard(module, mesh=mesh)
        if accelerator.device.type == "cpu":
            # Where a mean is asked for, gloo of torch 2.8 gives the sum (pytorch issue 162338).
            sharded.set_force_sum_reduction_for_comms(True)


def _leave_recurrent_weights_apart(model: VideoLLM) -> None:
    """Keep torch from moving the weights of recurrent networks into one piece of memory for cuDNN.

    FSDP fills the tensors that it had before each step anew; those moved keep the first's weights.
    """
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters = _as_they_are  # type: ignore[method-assign]
    # cuDNN puts them together at each call instead, which for so small a network costs nothing.
    warnings.filterwarnings("ignore", message="RNN module weights are not part of single contig")


def _as_they_are() -> None:
    """Stand in for what moves the weights."""


def set_exchange(model: VideoLLM, enabled: bool) -> None:
    """Say whether a backward pass hands gradients to the processes that own the weights."""
    cast("FSDPModule", model).set_requires_gradient_sync(enabled)


def release(model: VideoLLM) -> None:
    """Give up what a call without a backward pass has left whole: such weights are copies."""
    cast("FSDPModule", model).reshard()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may lie in parts on the processes; all must ask for the same."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor that may lie in parts; it shares the memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """Cut this process's part, as it has one of ``like``, out of a tensor that every one has."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(
        tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )
