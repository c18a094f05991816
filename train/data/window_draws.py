"""The random draws of training, each window's for itself.

windows -> tensors of random values. A window's draws follow from its own seed and have the shape
of its own tokens, so they depend neither on the windows beside it nor on padding, the size of a
micro-batch or the number of processes.

Shapes: B batch, N tokens of a window with padding, D width.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from train.task import Window

__all__ = ["WindowDraws"]


class WindowDraws:
    """A random generator per window of a batch; each call goes on where the last one ended."""

    def __init__(self, windows: Sequence[Window], device: torch.device) -> None:
        """Start every window's generator from its seed.

        Args:
            windows: Of the batch.
            device: Where values are drawn; a GPU draws other ones than a CPU.
        """
        self.num_rows = [window.num_rows for window in windows]
        """Of each window, without padding."""
        self._windows = windows
        self._device = device

    def repeated(self, windows: Sequence[int]) -> "WindowDraws":
        """Return the draws of windows by their numbers, some perhaps twice, from the beginning."""
        return WindowDraws([self._windows[number] for number in windows], self._device)

    @cached_property
    def _generators(self) -> list[torch.Generator]:
        """Made when the first value is drawn: without noise and dropout none is."""
        return [torch.Generator(self._device).manual_seed(one.seed) for one in self._windows]

    def normal(self, counts_B: Sequence[int], width: int) -> Tensor:
        """Return (B, N, D) values of the standard normal distribution, 0 at padding.

        Args:
            counts_B: Tokens of each window, N is the largest number.
            width: D.
        """
        return self._padded(
            counts_B, width, lambda shape, own: torch.randn(shape, generator=own, device=own.device)
        )

    def kept(self, counts_B: Sequence[int], width: int, dropped: float) -> Tensor:
        """Return (B, N, D) factors of dropout: 0 for a share, larger than 1 for what is kept.

        Args:
            counts_B: Tokens of each window, N is the largest number; padding is dropped.
            width: D.
            dropped: Probability of 0.
        """

        def draw(shape: tuple[int, int], own: torch.Generator) -> Tensor:
            uniform = torch.rand(shape, generator=own, device=own.device)
            return (uniform >= dropped).float() / (1.0 - dropped)

        return self._padded(counts_B, width, draw)

    def uniform(self) -> Tensor:
        """Return a value (B,) in [0, 1) for each window."""
        values = [torch.rand((), generator=own, device=own.device) for own in self._generators]
        return torch.stack(values)

    def _padded(
        self,
        counts_B: Sequence[int],
        width: int,
        draw: Callable[[tuple[int, int], torch.Generator], Tensor],
    ) -> Tensor:
        drawn = [
            draw((count, width), generator)
            for count, generator in zip(counts_B, self._generators, strict=True)
        ]
        return torch.nn.utils.rnn.pad_sequence(drawn, batch_first=True)
