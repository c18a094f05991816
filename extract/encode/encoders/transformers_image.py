"""Any image network of transformers: CLIP, SigLIP, DINOv2, ViT and their like, one frame a row."""

# Shapes: B batch · C, H, W network input · N tokens, prefix tokens first · D feature dim

import inspect
from typing import Any

import torch
from torch import Tensor

from cache_schema.errors import ConfigError
from cache_schema.recipe import EncoderRecipe
from extract.encode.encoders.base import single_frame
from extract.encode.encoders.checkpoint import Checkpoint, encoder_id, load_weights, read_preprocess
from extract.encode.encoders.options import EncoderOptions, Pooling
from extract.encode.encoders.placement import (
    choose_device,
    choose_dtype,
    inference,
    network_dtype,
    placed,
)
from extract.encode.encoders.pooling import pool, resolve_pooling
from extract.encode.encoders.weights import weights_sha256
from extract.encode.preprocess import network_size

__all__ = ["ImageEncoder", "load_image_encoder"]

_PROCESSOR_FILES = (
    ("preprocessor_config.json", None),
    ("processor_config.json", "image_processor"),
)


class ImageEncoder:
    """One row per frame from a transformers image network.

    The ``default`` row is what the network's authors take as the image's embedding, before any
    projection: its ``pooler_output`` (CLIP: CLS token after the last layer norm; SigLIP: attention
    pooling; DINOv2: CLS after the layer norm; ViT with a trained pooler: tanh layer on CLS), else
    the CLS token, else the mean. ``cls``, ``mean`` and ``grid`` take the last hidden state, which
    in CLIP is before that layer norm; ``mean`` and ``grid`` leave CLS and register tokens out.
    """

    frames_per_window = 1

    def __init__(self, checkpoint: Checkpoint, options: EncoderOptions) -> None:
        self.preprocess = checkpoint.preprocess
        self.device = choose_device(options.device)
        dtype = choose_dtype(options, self.device)
        digest = weights_sha256(checkpoint.network.state_dict())
        self._dtype = network_dtype(options, dtype)
        self.network = placed(checkpoint.network, self.device, self._dtype)
        self.definition: str = checkpoint.config.to_json_string(use_diff=False)
        probe = self._probe(checkpoint)
        self._num_prefix = _count_prefix(checkpoint, probe)
        self._pooling = _choose_pooling(checkpoint.id, options.pooling, probe, self._num_prefix)
        self.row_shape = tuple(self._rows(probe).shape[1:])
        self.recipe = EncoderRecipe(
            id=checkpoint.id, weights_sha256=digest, compute_dtype=dtype, pooling=self._pooling
        )

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return float32 (B, D), or (B, tokens, D) for the grid."""
        with inference(self.device):
            return self._rows(self._forward(single_frame(pixels_BFCHW)))

    def _forward(self, pixels_BCHW: Tensor) -> Any:  # noqa: ANN401  # untyped library
        return self.network(pixel_values=pixels_BCHW.to(self.device, self._dtype))

    def _rows(self, output: Any) -> Tensor:  # noqa: ANN401  # untyped library
        if self._pooling == "default":
            pooled: Tensor = output.pooler_output
            return pooled.flatten(1).float()  # convolutional networks give (B, D, 1, 1)
        return pool(_tokens(output), self._pooling, self._num_prefix)

    def _probe(self, checkpoint: Checkpoint) -> Any:  # noqa: ANN401  # untyped library
        """Run one black frame: which outputs there are, and of which shape."""
        height, width = network_size(self.preprocess)
        try:
            with inference(self.device):
                return self._forward(torch.zeros(1, 3, height, width))
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"encoder '{checkpoint.id}': the network refuses the {height} x {width} frames of "
                f"its preprocessor_config.json ({error}); size or crop_size there must fit it."
            ) from error


def load_image_encoder(name: str, config: Any, options: EncoderOptions) -> ImageEncoder:  # noqa: ANN401
    """Load an image network; of a network for images and text, its vision tower alone.

    Raises:
        ConfigError: if the checkpoint holds no network that maps frames to features.
    """
    config = getattr(config, "vision_config", config)
    preprocess = read_preprocess(name, _PROCESSOR_FILES)
    network = load_weights(name, config, options)
    others = _other_inputs(network)
    if others:
        raise ConfigError(
            f"encoder '{name}': {type(network).__name__} needs {', '.join(others)}; expected a "
            "network that maps pixel_values alone to features."
        )
    checkpoint = Checkpoint(
        id=encoder_id(name), network=network, config=config, preprocess=preprocess
    )
    return ImageEncoder(checkpoint, options)


def _other_inputs(network: torch.nn.Module) -> list[str]:
    """Name what a forward pass needs besides ``pixel_values``."""
    parameters = inspect.signature(network.forward).parameters
    if "pixel_values" not in parameters:
        return list(parameters)[:1]
    return [
        name
        for name, parameter in parameters.items()
        if name != "pixel_values"
        and parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def _tokens(output: Any) -> Tensor:  # noqa: ANN401  # untyped library
    """Return (B, N, D); the map (B, D, H, W) of a convolutional network becomes tokens."""
    hidden: Tensor = output.last_hidden_state
    return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden


def _count_prefix(checkpoint: Checkpoint, output: Any) -> int:  # noqa: ANN401  # untyped library
    """Count CLS and register tokens: those in excess of the patches of the frame."""
    hidden: Tensor = output.last_hidden_state
    patch = getattr(checkpoint.config, "patch_size", None)
    if hidden.ndim == 4 or patch is None:
        return 0
    patch_height, patch_width = (patch, patch) if isinstance(patch, int) else patch
    height, width = network_size(checkpoint.preprocess)
    # Hierarchical networks (Swin) merge patches: fewer tokens than patches, and no prefix.
    return max(0, hidden.shape[1] - (height // patch_height) * (width // patch_width))


def _choose_pooling(encoder: str, asked: Pooling, output: Any, num_prefix: int) -> Pooling:  # noqa: ANN401
    has_cls = num_prefix > 0
    if getattr(output, "pooler_output", None) is not None:
        return resolve_pooling(encoder, asked, default="default", has_cls=has_cls)
    return resolve_pooling(encoder, asked, default="cls" if has_cls else "mean", has_cls=has_cls)
