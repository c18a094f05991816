"""What of a model a checkpoint keeps: everything but pretrained networks, which are named."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from cache_schema.errors import CheckpointError
from train.model.identity import LlmIdentity
from train.model.llm import LanguageModel
from train.model.video_llm import VideoLLM

__all__ = ["TrainedWeights", "load_trained", "pretrained_identities", "trained_weights"]


def pretrained_identities(model: nn.Module) -> dict[str, LlmIdentity]:
    """Return module path -> identity of every network whose own weights are not trained."""
    return {
        path: module.identity
        for path, module in model.named_modules()
        if isinstance(getattr(module, "identity", None), LlmIdentity)
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedWeights:
    """Everything a checkpoint must keep: all but pretrained networks, which are named."""

    model: Mapping[str, Tensor]
    """Translator, heads, learned tokens, and weights of the LLM that are trained themselves."""
    adapter: Mapping[str, Tensor]
    """Of the LLM, under peft's own names; empty if it has none."""


def trained_weights(model: VideoLLM) -> TrainedWeights:
    """Return what is to be kept of a model."""
    adapter = model.llm.adapter_tensors() if isinstance(model.llm, LanguageModel) else {}
    pretrained = tuple(f"{path}." for path in pretrained_identities(model))
    adapted = "llm." if adapter else ()
    trainable = {
        name
        for name, value in model.named_parameters()
        if value.requires_grad and not name.startswith(adapted)
    }
    tensors = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name in trainable or not name.startswith(pretrained)
    }
    return TrainedWeights(model=tensors, adapter=adapter)


def load_trained(model: VideoLLM, weights: TrainedWeights, *, where: str) -> None:
    """Fill a model with what ``trained_weights`` returned.

    Raises:
        CheckpointError: if names or shapes are not the model's.
    """
    own = trained_weights(model)
    _check_shapes(own.model, weights.model, where)
    _check_shapes(own.adapter, weights.adapter, where)
    model.load_state_dict(dict(weights.model), strict=False)
    if isinstance(model.llm, LanguageModel) and weights.adapter:
        model.llm.load_adapter(weights.adapter)


def _check_shapes(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], where: str) -> None:
    expected = {name: tuple(value.shape) for name, value in own.items()}
    got = {name: tuple(value.shape) for name, value in saved.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise CheckpointError(
                f"{where}: tensor '{name}' has shape {got.get(name)}, the model expects "
                f"{expected.get(name)}. Task options or features differ from the training run's."
            )
