"""VideoLLM: translator -> LLM -> head of a task (arXiv 2305.13292, figure 2).

Shapes: B batch, T rows of a window, D feature width, E LLM width, K classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cache_schema.errors import CheckpointError, ConfigError
from train.augment import FeatureAugment
from train.config import TrainConfig
from train.llm import LanguageModel, load_llm
from train.tasks.base import Task
from train.translator import SemanticTranslator

__all__ = ["VideoLLM", "build_model", "load_trained", "parameter_counts", "trained_tensors"]

WIDTH_WITHOUT_LLM = 576
"""Width between translator and head for ``llm.name = none``: that of SmolLM2."""


class VideoLLM(nn.Module):
    """One translator, one LLM (or none), one head per task."""

    def __init__(
        self,
        *,
        translator: SemanticTranslator,
        llm: LanguageModel | None,
        heads: Mapping[str, nn.Module],
        state_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(state_dropout)
        self.translator = translator
        self.llm = llm
        self.heads = nn.ModuleDict(heads)

    def forward(self, features_BTD: Tensor, valid_BT: Tensor, task: str) -> dict[str, Tensor]:
        """Return head name -> logits_BTK of one task.

        Args:
            features_BTD: Stored rows in float32, or BTND for rows that are grids of N tokens.
            valid_BT: True for rows, False for padding, which lies behind them.
            task: Name of the head to use.
        """
        tokens_BTE = self.translator(features_BTD)
        hidden_BTE = tokens_BTE if self.llm is None else self.llm(tokens_BTE, valid_BT)
        logits: dict[str, Tensor] = self.heads[task](self.dropout(hidden_BTE))
        return logits


def build_model(
    config: TrainConfig, row_shape: tuple[int, ...], tasks: Mapping[str, Task], device: torch.device
) -> VideoLLM:
    """Build the model of a run on the CPU; the same seed gives the same weights.

    Args:
        config: Settings of the run.
        row_shape: Shape of a stored row: (D,) or (tokens, D).
        tasks: Task name -> task, each gets a head.
        device: Where it will run.

    Raises:
        ConfigError: if the LLM cannot be loaded or has too few positions for a window.
    """
    llm = (
        None
        if config.llm.name == "none"
        else load_llm(config.llm, device, config.seed, config.tuning)
    )
    if llm is not None:
        _check_positions(config, llm)
    torch.manual_seed(config.seed)
    translator = SemanticTranslator(
        row_shape[-1],
        WIDTH_WITHOUT_LLM if llm is None else llm.width_in,
        config.translator,
        start_rms=1.0 if llm is None else llm.embedding_rms,
        augment=FeatureAugment(config.augment),
    )
    width = WIDTH_WITHOUT_LLM if llm is None else llm.width_out
    heads = {name: task.build_head(width) for name, task in tasks.items()}
    return VideoLLM(
        translator=translator, llm=llm, heads=heads, state_dropout=config.augment.state_dropout
    )


def _check_positions(config: TrainConfig, llm: LanguageModel) -> None:
    rows = config.data.window_rows
    if llm.max_positions is not None and rows > llm.max_positions:
        raise ConfigError(
            f"llm '{config.llm.name}' has {llm.max_positions} positions, but data.window_rows is "
            f"{rows} ({config.data.context_rows} of them data.context_rows at evaluation). "
            f"Set data.window_rows to {llm.max_positions} at most."
        )


def parameter_counts(model: VideoLLM) -> dict[str, int]:
    """Count the parameters that are trained, per part of the model."""
    parts: dict[str, nn.Module | None] = {
        "llm": model.llm,
        "translator": model.translator,
        "heads": model.heads,
    }
    return {
        name: 0
        if part is None
        else sum(value.numel() for value in part.parameters() if value.requires_grad)
        for name, part in parts.items()
    }


def trained_tensors(model: VideoLLM) -> dict[str, Tensor]:
    """Return everything a checkpoint must keep: all but the frozen LLM, which has an identity."""
    trainable = {name for name, value in model.named_parameters() if value.requires_grad}
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name in trainable or not name.startswith("llm.")
    }


def load_trained(model: VideoLLM, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Fill a model with what ``trained_tensors`` returned.

    Raises:
        CheckpointError: if names or shapes are not the model's.
    """
    expected = {name: tuple(value.shape) for name, value in trained_tensors(model).items()}
    got = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise CheckpointError(
                f"{where}: tensor '{name}' has shape {got.get(name)}, the model expects "
                f"{expected.get(name)}. Task options or features differ from the training run's."
            )
    model.load_state_dict(dict(tensors), strict=False)
