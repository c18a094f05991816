"""One encoder's way into the store: its model, its recipe and its stream."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from cache_schema.errors import RecipeMismatchError
from cache_schema.parsing import differences
from cache_schema.place import Place
from cache_schema.recipe import DecoderRecipe, Recipe, SamplingRecipe
from cache_schema.store import Store, StoreWriter, open_store, stream_names
from extract.config import ExtractConfig
from extract.decode.versions import recipe_version
from extract.encode.encoders import EncoderOptions, absolute_name
from extract.encode.encoders.remembered import EncoderFacts, facts_of, load_and_remember, recall

if TYPE_CHECKING:
    from extract.encode.encoders.base import Encoder
    from extract.encode.encoders.kept import Load

__all__ = [
    "Target",
    "build_targets",
    "check_recipe",
    "config_of",
    "make_streams",
    "remembered_recipes",
    "sampling_fps",
    "streams_of",
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One stream that a run fills."""

    encoder: "Encoder"
    recipe: Recipe
    stream: str
    """Its name in the store."""
    source: str
    """By which name the encoder was loaded, a path made absolute."""


def sampling_fps(config: ExtractConfig) -> Fraction | None:
    """Return the tick rate; None for every frame."""
    return config.fps or None


def remembered_recipes(config: ExtractConfig) -> list[Recipe] | None:
    """Return the recipe of every target without loading any network; None if one is not known.

    Good for finding out what there is to do; rows need the recipes of ``build_targets``.
    """
    recipes: dict[str, Recipe] = {}
    for name in config.encoders:
        facts = recall(name, _encoder_options(config))
        if facts is None:
            return None
        recipe = _recipe(facts, config)
        recipes[recipe.fingerprint] = recipe
    return list(recipes.values())


def build_targets(
    config: ExtractConfig, store: Store | None, load: "Load" = load_and_remember
) -> list[Target]:
    """Load every encoder and find or choose its stream's name.

    An encoder that is named twice, in whatever way, is one target.

    Args:
        config: Names the encoders.
        store: Where the streams are to be, if it is there.
        load: Gives an encoder by its name and options.

    Raises:
        ConfigError: on an unknown encoder or an option it does not have.
    """
    encoders = [load(name, _encoder_options(config)) for name in config.encoders]
    recipes = [_recipe(facts_of(encoder), config) for encoder in encoders]
    sources = map(absolute_name, config.encoders)
    made = zip(encoders, recipes, stream_names(store, recipes), sources, strict=True)
    targets = {
        stream: Target(encoder=encoder, recipe=recipe, stream=stream, source=source)
        for encoder, recipe, stream, source in made
    }
    return list(targets.values())


def make_streams(targets: Sequence[Target], writer: StoreWriter, path: Place) -> list[Target]:
    """Make every target's stream; return the targets with the names their streams have.

    A name that was free when it was chosen may by now be that of another run's stream, made
    another way. Then the name is chosen again.

    Args:
        targets: As planned. All of their streams are made at once, since an HDF5 file is copied
            when one is added to a file that has rows.
        writer: The store.
        path: Where it lies.
    """
    return [_make_stream(target, writer, path) for target in targets]


def _make_stream(target: Target, writer: StoreWriter, path: Place) -> Target:
    row_shape, source = target.encoder.row_shape, target.source
    try:
        writer.stream(target.stream, target.recipe, row_shape, encoder_source=source)
        return target
    except RecipeMismatchError:
        (name,) = stream_names(open_store(path), [target.recipe])
        writer.stream(name, target.recipe, row_shape, encoder_source=source)
        return replace(target, stream=name)


def config_of(recipe: Recipe, encoder: str, device: str = "auto") -> ExtractConfig:
    """Return the settings that make rows of an extracted stream's recipe again.

    Args:
        recipe: Of the stream.
        encoder: Where to load the encoder from.
        device: Where it runs, unless the recipe's runtime is for CPUs alone.
    """
    assert recipe.decoder is not None
    return ExtractConfig(
        encoders=(encoder,),
        fps=recipe.sampling.fps or Fraction(0),
        stride_frames=recipe.sampling.stride_frames,
        pooling=recipe.encoder.pooling,  # type: ignore[arg-type]
        compute_dtype=recipe.encoder.compute_dtype,  # type: ignore[arg-type]
        runtime=recipe.encoder.runtime,
        store_dtype=recipe.store_dtype,
        device=device if recipe.encoder.runtime == "torch" else "cpu",
        decoder=recipe.decoder.backend,
    )


def check_recipe(wanted: Recipe, made: Recipe, *, any_decoder_version: bool = False) -> None:
    """Raise unless rows made here are those of a recipe.

    Args:
        wanted: As they were made before.
        made: As they would be made here.
        any_decoder_version: Whether another version of the decoder may differ; its frames are the
            same up to mended errors.

    Raises:
        RecipeMismatchError: naming every field that differs.
    """
    ignore = {"decoder.version"} if any_decoder_version else set()
    if fields := differences(wanted, made, ignore=ignore):
        raise RecipeMismatchError(f"these rows cannot be made again here: {'; '.join(fields)}.")


def streams_of(targets: Sequence[Target]) -> list[str]:
    """Return the targets' stream names."""
    return [target.stream for target in targets]


def _encoder_options(config: ExtractConfig) -> EncoderOptions:
    return EncoderOptions(
        device=config.device,
        compute_dtype=config.compute_dtype,
        pooling=config.pooling,
        runtime=config.runtime,
        trust_remote_code=config.trust_remote_code,
    )


def _recipe(facts: EncoderFacts, config: ExtractConfig) -> Recipe:
    return Recipe(
        origin="extracted",
        encoder=facts.recipe,
        preprocess=facts.preprocess,
        sampling=SamplingRecipe(
            fps=sampling_fps(config),
            frames_per_window=facts.frames_per_window,
            stride_frames=config.stride_frames or facts.frames_per_window,
        ),
        decoder=DecoderRecipe(backend=config.decoder, version=recipe_version(config.decoder)),
        store_dtype=config.store_dtype,
    )
