"""A small network read piece by piece: what was read before is kept, and read again.

A window of such a network takes a few milliseconds, so nothing of its inside needs to be kept.

Shapes: a batch of one, N tokens of a piece, E width.
"""

import torch
from torch import Tensor

from train.model.small import SmallNetwork

__all__ = ["ReadAgain"]


class ReadAgain:
    """Does as ``CachedLlm`` does."""

    def __init__(self, network: SmallNetwork) -> None:
        """Begin with nothing read.

        Args:
            network: In evaluation mode.
        """
        self._network = network
        self._read: list[Tensor] = []

    @property
    def num_cached(self) -> int:
        """Tokens that are kept."""
        return sum(tokens_1NE.shape[1] for tokens_1NE in self._read)

    def forget(self) -> None:
        """Begin anew."""
        self._read.clear()

    @torch.inference_mode()
    def read(self, tokens_1NE: Tensor) -> Tensor:
        """Return the states (1, N, E) of the tokens that come next."""
        self._read.append(tokens_1NE)
        all_1ME = torch.cat(self._read, dim=1)
        valid_1M = torch.ones(all_1ME.shape[:2], dtype=torch.bool, device=all_1ME.device)
        states_1ME: Tensor = self._network(all_1ME, valid_1M)
        return states_1ME[:, -tokens_1NE.shape[1] :]
