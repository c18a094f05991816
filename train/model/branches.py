"""One sequence per window that several texts continue, each for itself: rows are read once.

    rows | query 1, appended | query 2, appended | ...

A causal LLM's states of the rows do not depend on what stands behind them, so windows need not be
read again for every query about them. A branch sees the rows and itself, and counts positions from
the last row on, as if nothing else were there.

Shapes: B windows, T rows, Q branches of all windows, S tokens of a branch, N tokens of a sequence,
E width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BranchLayout"]

ROWS, NOTHING = -1, -2
"""Whose a place is, if no branch's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BranchLayout:
    """Where the tokens of rows and branches stand in the sequences."""

    places_QS: Tensor
    """Place of each branch token in all sequences laid end to end; 0 for padding."""
    valid_QS: Tensor
    owner_BN: Tensor
    """Branch, ``ROWS`` or ``NOTHING``."""
    positions_BN: Tensor

    @classmethod
    def of(cls, valid_BT: Tensor, valid_QS: Tensor, window_of_Q: Tensor) -> "BranchLayout":
        """Lay out rows, behind which padding lies, and branches, which padding may interrupt.

        Args:
            valid_BT: True for rows.
            valid_QS: True for tokens of branches.
            window_of_Q: Whose rows a branch continues; those of a window follow each other.
        """
        rows_B, tokens_Q = valid_BT.sum(dim=1), valid_QS.sum(dim=1)
        ends_Q = tokens_Q.cumsum(dim=0)
        all_B = torch.zeros_like(rows_B).index_add(0, window_of_Q, tokens_Q)
        before_B = all_B.cumsum(dim=0) - all_B
        starts_Q = rows_B[window_of_Q] + ends_Q - tokens_Q - before_B[window_of_Q]
        num_places = int((rows_B + all_B).max())
        ranks_QS = valid_QS.long().cumsum(dim=1) - 1
        places_QS = window_of_Q[:, None] * num_places + starts_Q[:, None] + ranks_QS
        places_QS = places_QS.where(valid_QS, 0)

        places_N = torch.arange(num_places, device=valid_BT.device)
        is_row_BN = places_N < rows_B[:, None]
        branches_QS = torch.arange(len(valid_QS), device=valid_BT.device)[:, None]
        branches_QS = branches_QS.expand_as(valid_QS)
        positions_QS = rows_B[window_of_Q][:, None] + ranks_QS
        own = places_QS[valid_QS]
        owner = torch.where(is_row_BN, ROWS, NOTHING).flatten()
        positions = torch.where(is_row_BN, places_N, 0).flatten()
        return cls(
            places_QS=places_QS,
            valid_QS=valid_QS,
            owner_BN=owner.index_copy(0, own, branches_QS[valid_QS]).view_as(is_row_BN),
            positions_BN=positions.index_copy(0, own, positions_QS[valid_QS]).view_as(is_row_BN),
        )

    @property
    def valid_BN(self) -> Tensor:
        """True where a token stands; behind them lies padding."""
        return self.owner_BN != NOTHING

    def join(self, rows_BTE: Tensor, branches_QSE: Tensor) -> Tensor:
        """Return the sequences' tokens (B, N, E)."""
        missing = self.owner_BN.shape[1] - rows_BTE.shape[1]
        padded_BNE = functional.pad(rows_BTE, (0, 0, 0, missing))
        tokens = padded_BNE.where((self.owner_BN == ROWS)[..., None], 0.0).flatten(0, 1)
        own, values = self.places_QS[self.valid_QS], branches_QSE[self.valid_QS]
        return tokens.index_copy(0, own, values.to(tokens.dtype)).view_as(padded_BNE)

    def branches(self, states_BNE: Tensor) -> Tensor:
        """Return the states (Q, S, E) of the branches' tokens; those of padding may be anything."""
        return states_BNE.flatten(0, 1)[self.places_QS]

    def may_see(self) -> Tensor:
        """Return (B, 1, N, N), True where a token, by row, sees another one, by column.

        Every place sees itself, also where nothing stands: a softmax over nothing is NaN.
        """
        places_N = torch.arange(self.owner_BN.shape[1], device=self.owner_BN.device)
        is_past_NN = places_N[:, None] >= places_N
        seen_B1N, seeing_BN1 = self.owner_BN[:, None, :], self.owner_BN[:, :, None]
        is_own_BNN = (seen_B1N == seeing_BN1) | (seen_B1N == ROWS)
        return (is_past_NN & is_own_BNN)[:, None]
