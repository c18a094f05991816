"""The numbers of a step, on their way from the device.

A GPU works through what it is handed in its own time. Asking it for a number means to wait for all
that was handed over before, and while nothing more is, the GPU does nothing. So they are asked for
once in a step, when the optimizer has its work, too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from cache_schema.errors import PipelineError

__all__ = ["ComingNumbers", "StepNumbers"]


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """What a step was, over all its micro-batches and processes."""

    total: float
    """Loss, summed over the valid targets."""
    targets: float
    rows: float
    norm: float
    """Of the gradient of the mean loss."""

    @property
    def loss(self) -> float:
        """Mean over the valid targets."""
        return self.total / max(1.0, self.targets)

    def refuse_if_not_finite(self, step: int, videos: Iterable[str]) -> None:
        """Refuse to go on from there.

        Raises:
            PipelineError: if the loss or its gradient is not finite.
        """
        if math.isfinite(self.loss) and math.isfinite(self.norm):
            return
        raise PipelineError(
            f"step {step}: loss {self.loss}, gradient norm {self.norm}: not finite. The batch "
            f"holds {', '.join(sorted(set(videos)))}. Nothing of this step was saved; lower "
            "optim.lr, or check these videos with vllm-store verify."
        )


class ComingNumbers:
    """Numbers that are copied as soon as the device has them."""

    def __init__(self, numbers_4: Tensor) -> None:
        """Have them copied.

        Args:
            numbers_4: The fields of ``StepNumbers``, on the device.
        """
        self._numbers_4 = numbers_4.to("cpu", non_blocking=True)
        self._copied: torch.cuda.Event | None = None
        if numbers_4.is_cuda:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def read(self) -> StepNumbers:
        """Wait for them, but not for what the device was handed later."""
        if self._copied is not None:
            self._copied.synchronize()
        return StepNumbers(*self._numbers_4.tolist())
