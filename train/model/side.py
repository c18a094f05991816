"""The side network: a small recurrent one that reads the rows beside the LLM.

An LLM of few trained weights names more seconds right, a recurrent network finds segments; the mean
of both does either better than two of a kind (docs/decisions/0023). That a small network is trained
beside a pretrained one, and blended with it, is side-tuning (Zhang et al., ECCV 2020); that in
training a path must often do without the other, so that it stands on its own feet, is the global
drop-path of FractalNet (Larsson et al., ICLR 2017).

Shapes: B windows, T rows of a window, D feature width, E LLM width, H width of the recurrent units.
"""

from torch import Tensor, nn
from torch.nn import functional

from train.config import SideConfig
from train.data.window_draws import WindowDraws

__all__ = ["SideNetwork"]


class SideNetwork(nn.Module):
    """standard_BTD, states_BTE of the LLM -> states_BTE."""

    def __init__(self, dim: int, width_out: int, config: SideConfig, *, dropout: float) -> None:
        """Make a network of random weights.

        Args:
            dim: D.
            width_out: E, of the LLM's states.
            config: Its size, and how often it is alone.
            dropout: Probability that a recurrent unit's value is zeroed in training.
        """
        super().__init__()
        # Of its own, in place of the LLM's tokens: what two networks see alike, both get wrong.
        self.enter = nn.Linear(dim, config.width)
        self.network = nn.GRU(config.width, config.width, batch_first=True)
        self.leave = nn.Linear(config.width, width_out)
        self._alone = config.alone
        self._dropout = dropout

    def forward(
        self, standard_BTD: Tensor, states_BTE: Tensor, draws: WindowDraws | None = None
    ) -> Tensor:
        """Return the mean of both states; in training one path's alone, for some windows.

        Args:
            standard_BTD: Standardised features.
            states_BTE: Of the LLM.
            draws: Of the windows in training.
        """
        hidden_BTH, _ = self.network(self.enter(standard_BTD))
        if draws is not None and self._dropout:
            hidden_BTH = hidden_BTH * self._kept(hidden_BTH, draws)
        own_BTE: Tensor = self.leave(hidden_BTH)
        share = 0.5 if draws is None or not self._alone else self._llm_shares(draws)
        return share * states_BTE + (1 - share) * own_BTE

    def read(self, standard_BTD: Tensor, past_1BH: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return this network's own states of the rows that come next, and what these leave behind.

        Args:
            standard_BTD: Standardised features.
            past_1BH: What the rows before left behind; None at the start of a window.
        """
        hidden_BTH, past_1BH = self.network(self.enter(standard_BTD), past_1BH)
        return self.leave(hidden_BTH), past_1BH

    def _kept(self, hidden_BTH: Tensor, draws: WindowDraws) -> Tensor:
        kept_BnH = draws.kept(draws.num_rows, hidden_BTH.shape[-1], self._dropout)
        return functional.pad(kept_BnH, (0, 0, 0, hidden_BTH.shape[1] - kept_BnH.shape[1]))

    def _llm_shares(self, draws: WindowDraws) -> Tensor:
        """Return how much of each window's states is the LLM's (B, 1, 1): all, none or half."""
        drawn_B11 = draws.uniform()[:, None, None]
        of_one_B11 = (drawn_B11 < self._alone / 2).float()
        return of_one_B11.where(drawn_B11 < self._alone, 0.5)
