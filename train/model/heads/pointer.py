"""Points from the final state to the rows where the answer starts and ends.

The final state is mapped to a start and an end vector, the rows' states to keys; their products are
logits over "nothing here" and the rows.

Shapes: B batch, T rows of a window, E LLM width, W pointer width, 2 start and end, P = 1 + T
places: "nothing here", then the rows.
"""

import torch
from torch import Tensor, nn

from train.task import States

__all__ = ["PointerHead"]

POINTER_WIDTH = 64
"""W; a wider one did worse on the demo set (docs/tasks.md)."""


class PointerHead(nn.Module):
    """Final and row states -> logits ``start`` and ``end``, each (B, 1 + T); place 0 is nothing."""

    def __init__(self, width: int) -> None:
        """Make the layers.

        Args:
            width: E, width of the LLM's hidden states.
        """
        super().__init__()
        self.pointers = nn.Linear(width, 2 * POINTER_WIDTH)
        self.keys = nn.Linear(width, 2 * POINTER_WIDTH)
        self.nothing_2W = nn.Parameter(torch.zeros(2, POINTER_WIDTH))

    def forward(self, states: States) -> dict[str, Tensor]:
        """Return the logits; places of padding have the lowest there is."""
        pointers_B2W = self.pointers(states.final_BSE[:, -1]).unflatten(-1, (2, -1))
        keys_BT2W = self.keys(states.rows_BTE).unflatten(-1, (2, -1))
        nothing_B12W = self.nothing_2W.expand(len(keys_BT2W), 1, -1, -1)
        places_BP2W = torch.cat([nothing_B12W, keys_BT2W], dim=1)
        logits_B2P = torch.einsum("bcw,bpcw->bcp", pointers_B2W, places_BP2W) / POINTER_WIDTH**0.5
        is_place_BP = nn.functional.pad(states.valid_BT, (1, 0), value=True)
        lowest = torch.finfo(logits_B2P.dtype).min
        start_BP, end_BP = logits_B2P.masked_fill(~is_place_BP[:, None], lowest).unbind(dim=1)
        return {"start": start_BP, "end": end_BP}
