"""One encoder's way into the store: its model, its recipe and its stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cache_schema.recipe import DecoderRecipe, Recipe, SamplingRecipe
from cache_schema.store import Store, stream_name
from extract.config import ExtractConfig
from extract.decode.pyav_source import pyav_version
from extract.encode.encoders import EncoderOptions, load_encoder
from extract.encode.encoders.base import Encoder

__all__ = ["Target", "build_targets", "sampling_fps", "streams_of"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One stream that a run fills."""

    encoder: Encoder
    recipe: Recipe
    stream: str
    """Its name in the store."""


def sampling_fps(config: ExtractConfig) -> Fraction | None:
    """Return the tick rate; None for every frame."""
    return config.fps or None


def _encoder_options(config: ExtractConfig) -> EncoderOptions:
    return EncoderOptions(
        device=config.device,
        compute_dtype=config.compute_dtype,
        pooling=config.pooling,
        trust_remote_code=config.trust_remote_code,
    )


def build_targets(config: ExtractConfig, store: Store | None) -> list[Target]:
    """Load every encoder and find or choose its stream's name.

    Raises:
        ConfigError: on an unknown encoder or an option it does not have.
    """
    return [_target(name, config, store) for name in config.encoders]


def _target(name: str, config: ExtractConfig, store: Store | None) -> Target:
    encoder = load_encoder(name, _encoder_options(config))
    recipe = Recipe(
        origin="extracted",
        encoder=encoder.recipe,
        preprocess=encoder.preprocess,
        sampling=SamplingRecipe(
            fps=sampling_fps(config),
            frames_per_window=encoder.frames_per_window,
            stride_frames=config.stride_frames or encoder.frames_per_window,
        ),
        decoder=_decoder_recipe(config.decoder),
        store_dtype=config.store_dtype,
    )
    return Target(
        encoder=encoder, recipe=recipe, stream=stream_name(store, encoder.recipe.id, recipe)
    )


def _decoder_recipe(backend: str) -> DecoderRecipe:
    if backend == "decord":
        from extract.decode.decord_source import decord_version

        return DecoderRecipe(backend="decord", version=f"{decord_version()}, {pyav_version()}")
    return DecoderRecipe(backend="pyav", version=pyav_version())


def streams_of(targets: Sequence[Target]) -> list[str]:
    """Return the targets' stream names."""
    return [target.stream for target in targets]
