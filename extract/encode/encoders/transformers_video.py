"""Video networks of transformers: VideoMAE, TimeSformer, ViViT, V-JEPA 2; one window a row."""

# Shapes: B batch · F frames of a window · C, H, W network input · N tokens · D feature dim

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from cache_schema.errors import ConfigError
from cache_schema.recipe import EncoderRecipe
from extract.encode.encoders.checkpoint import Checkpoint, encoder_id, load_weights, read_preprocess
from extract.encode.encoders.options import EncoderOptions
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

__all__ = ["VIDEO_FAMILIES", "VideoEncoder", "load_video_encoder"]

_PROCESSOR_FILES = (
    ("video_preprocessor_config.json", None),
    ("preprocessor_config.json", None),
    ("processor_config.json", "video_processor"),
    ("processor_config.json", "image_processor"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFamily:
    """Where a family's configuration keeps what we need, and which row is its own."""

    pooling: Literal["cls", "mean"]
    """The row its authors classify from; ``cls`` families have one such token at the front."""
    frames_key: str
    size_key: str
    patch: Callable[[Any], tuple[int, int, int]]
    """Frames, height and width of the block of pixels that makes one token."""


VIDEO_FAMILIES = {
    "videomae": VideoFamily(
        pooling="mean",
        frames_key="num_frames",
        size_key="image_size",
        patch=lambda config: (config.tubelet_size, *_pair(config.patch_size)),
    ),
    "timesformer": VideoFamily(
        pooling="cls",
        frames_key="num_frames",
        size_key="image_size",
        patch=lambda config: (1, *_pair(config.patch_size)),
    ),
    "vivit": VideoFamily(
        pooling="cls",
        frames_key="num_frames",
        size_key="image_size",
        patch=lambda config: tuple(config.tubelet_size),
    ),
    "vjepa2": VideoFamily(
        pooling="mean",
        frames_key="frames_per_clip",
        size_key="crop_size",
        patch=lambda config: (config.tubelet_size, *_pair(config.patch_size)),
    ),
}
"""By transformers' ``model_type``."""


class VideoEncoder:
    """One row per window from a transformers video network, from its last hidden state.

    The ``default`` row is what the family classifies from: the mean over all tokens for VideoMAE
    (before the classifier's own layer norm, which checkpoints without a classifier lack) and
    V-JEPA 2 (the encoder's output; its predictor is not used), the CLS token for TimeSformer and
    ViViT. ``mean`` and ``grid`` leave the CLS token out.
    """

    def __init__(
        self, checkpoint: Checkpoint, family: VideoFamily, options: EncoderOptions
    ) -> None:
        self.preprocess = checkpoint.preprocess
        self.device = choose_device(options.device)
        self.frames_per_window: int = getattr(checkpoint.config, family.frames_key)
        has_cls = family.pooling == "cls"
        self._num_prefix = int(has_cls)
        self._pooling = resolve_pooling(
            checkpoint.id, options.pooling, default=family.pooling, has_cls=has_cls
        )
        dtype = choose_dtype(options, self.device)
        digest = weights_sha256(checkpoint.network.state_dict())
        self._dtype = network_dtype(options, dtype)
        self.network = placed(checkpoint.network, self.device, self._dtype)
        self.definition: str = checkpoint.config.to_json_string(use_diff=False)
        self.row_shape = self._find_row_shape(checkpoint, family)
        self.recipe = EncoderRecipe(
            id=checkpoint.id, weights_sha256=digest, compute_dtype=dtype, pooling=self._pooling
        )

    def encode(self, pixels_BFCHW: Tensor) -> Tensor:
        """Return float32 (B, D), or (B, tokens, D) for the grid.

        Raises:
            ValueError: if windows have another number of frames than the network.
        """
        if pixels_BFCHW.ndim != 5 or pixels_BFCHW.shape[1] != self.frames_per_window:
            raise ValueError(
                f"pixels have shape {tuple(pixels_BFCHW.shape)}, expected "
                f"(B, {self.frames_per_window}, C, H, W)"
            )
        with inference(self.device):
            output = self.network(pixels_BFCHW.to(self.device, self._dtype))
            return pool(output.last_hidden_state, self._pooling, self._num_prefix)

    def _find_row_shape(self, checkpoint: Checkpoint, family: VideoFamily) -> tuple[int, ...]:
        dim: int = checkpoint.config.hidden_size
        if self._pooling != "grid":
            return (dim,)
        frames, height, width = family.patch(checkpoint.config)
        input_height, input_width = network_size(self.preprocess)
        blocks = self.frames_per_window // frames
        return (blocks * (input_height // height) * (input_width // width), dim)


def load_video_encoder(name: str, config: Any, options: EncoderOptions) -> VideoEncoder:  # noqa: ANN401
    """Load a network of one of the ``VIDEO_FAMILIES``.

    Raises:
        ConfigError: if the checkpoint is incomplete or its two configurations disagree.
    """
    family = VIDEO_FAMILIES[config.model_type]
    preprocess = read_preprocess(name, _PROCESSOR_FILES)
    wanted = _pair(getattr(config, family.size_key))
    if network_size(preprocess) != wanted:
        raise ConfigError(
            f"encoder '{name}': preprocessing gives frames of {network_size(preprocess)}, "
            f"{family.size_key} in config.json is {wanted}; they must be equal."
        )
    network = load_weights(name, config, options)
    checkpoint = Checkpoint(
        id=encoder_id(name), network=_encoder_part(network), config=config, preprocess=preprocess
    )
    return VideoEncoder(checkpoint, family, options)


def _encoder_part(network: Any) -> torch.nn.Module:  # noqa: ANN401  # attributes differ by family
    """Drop what the row does not pass through: V-JEPA 2's predictor, ViViT's pooler."""
    if network.config.model_type == "vjepa2":
        encoder: torch.nn.Module = network.encoder
        return encoder
    if hasattr(network, "pooler"):
        network.pooler = None
    module: torch.nn.Module = network
    return module


def _pair(size: Any) -> tuple[int, int]:  # noqa: ANN401  # configurations hold a number or a pair
    return (size, size) if isinstance(size, int) else (size[0], size[1])
