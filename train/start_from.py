"""Begin with what another run has learned, instead of with nothing: ``train.start_from``.

Its translator, with the mean and deviation it divides features by, and what it trained of the LLM
are taken. So is the head of a task that it learned with the same classes; others start anew.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from cache_schema.errors import ConfigError
from cache_schema.parsing import differences
from cache_schema.stream import Stream
from train.checkpoints.checkpoint import Labels, check_stream, read_checkpoint
from train.checkpoints.folder import BEST
from train.config import TrainConfig
from train.model.identity import LlmIdentity
from train.model.trained_weights import (
    TrainedWeights,
    load_trained,
    pretrained_identities,
    trained_weights,
)
from train.model.tuning import parse_tuning
from train.model.video_llm import VideoLLM
from train.runs import local_run

__all__ = ["start_from"]

HEADS = "heads."

logger = logging.getLogger(__name__)


def start_from(config: TrainConfig, model: VideoLLM, stream: Stream, labels: Labels) -> None:
    """Fill a new model with the best checkpoint of ``config.start_from``.

    Args:
        config: Settings of the new run.
        model: Built for it, on the CPU.
        stream: What it will read.
        labels: Task -> output of its head -> name of each class, of the new run.

    Raises:
        PipelineError: if the run is not there, or was trained on features of another recipe, with
            another LLM, translator or tuning.
    """
    folder = local_run(config.start_from) / BEST
    checkpoint, state = read_checkpoint(folder)
    check_stream(stream, checkpoint)
    _check_same_settings(config, checkpoint.config)
    for path, got in pretrained_identities(model).items():
        _check_same_network(path, got, checkpoint.pretrained.get(path))
    learned = [task for task, names in labels.items() if state.labels.get(task) == names]
    own = trained_weights(model)
    # What a basic run has none of: an adapter, learned tokens.
    weights = TrainedWeights(
        model={**own.model, **_without_other_heads(state.weights.model, learned)},
        adapter=state.weights.adapter or own.adapter,
    )
    load_trained(model, weights, where=str(folder))
    anew = sorted(labels.keys() - set(learned))
    logger.info(
        "starts from %s%s",
        folder,
        f"; without its heads: the classes of {', '.join(anew)} are others" if anew else "",
    )


def _check_same_network(path: str, got: LlmIdentity, expected: LlmIdentity | None) -> None:
    """Compare weights; of two dtypes only names can be compared."""
    if expected is not None and got.dtype == expected.dtype:
        is_same = got.weights_sha256 == expected.weights_sha256
    else:
        is_same = expected is not None and got.name == expected.name
    if not is_same:
        raise ConfigError(
            f"start_from: {path} '{got.name}' is not the network that run was trained against, "
            f"'{expected.name if expected else 'none'}'. Give that one (--llm), or leave "
            "start_from out."
        )


def _check_same_settings(config: TrainConfig, saved: TrainConfig) -> None:
    fields = differences(_network(saved), _network(config), ignore={"llm.name", "llm.dtype"})
    if parse_tuning(saved.tuning) not in map(parse_tuning, ("basic", config.tuning)):
        fields.append(f"tuning: {saved.tuning}, not {config.tuning}")
    if fields:
        raise ConfigError(
            f"start_from '{config.start_from}': that run was trained with other settings: "
            f"{'; '.join(fields)}. Give the same, or leave start_from out."
        )


def _network(config: TrainConfig) -> TrainConfig:
    """Return defaults but for what decides which tensors there are."""
    return replace(TrainConfig(), llm=config.llm, translator=config.translator, side=config.side)


def _without_other_heads(tensors: Mapping[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
    kept = tuple(f"{HEADS}{task}." for task in tasks)
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(kept) or not name.startswith(HEADS)
    }
