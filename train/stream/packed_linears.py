"""Frozen bfloat16 matrices of a network, laid out as a CPU multiplies single tokens with.

A matrix in rows is brought into oneDNN's own layout at every product: for 256 tokens that is a
tenth of the work, for one token half of it. Here it is done once. The operators are those that
torch's compiler emits for CPUs; where they are missing, nothing is packed and all is as before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PackedLinears"]

ONEDNN: Any = torch.ops.mkldnn


class PackedLinears:
    """Second copies of a network's matrices, used inside ``in_use`` only."""

    def __init__(self, network: nn.Module) -> None:
        """Pack what can be packed: linear layers in bfloat16 on a CPU.

        Args:
            network: Its weights must not change any more.
        """
        linears = [one for one in network.modules() if type(one) is nn.Linear]
        self._forwards = [(one, _packed_forward(one)) for one in linears if _can_pack(one)]

    def __len__(self) -> int:
        return len(self._forwards)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the network multiply with the copies, for inference."""
        # Past nn.Module's own bookkeeping of attributes, which costs as much as a small product.
        for module, forward in self._forwards:
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module, _ in self._forwards:
                del module.__dict__["forward"]


def _can_pack(linear: nn.Linear) -> bool:
    weight = linear.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and hasattr(ONEDNN, "_reorder_linear_weight")
        and hasattr(ONEDNN, "_linear_pointwise")
        and bool(ONEDNN._is_mkldnn_bf16_supported())
    )


def _packed_forward(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    packed, bias = ONEDNN._reorder_linear_weight(linear.weight.detach(), 1), linear.bias

    def forward(inputs: Tensor) -> Tensor:
        outputs: Tensor = ONEDNN._linear_pointwise(inputs, packed, bias, "none", [], "")
        return outputs

    return forward
