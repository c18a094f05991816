"""How a feature came to be: the recipe, and its fingerprint.

Two features are comparable exactly when their recipes are equal, so everything that changes a
feature's value is a field here and nothing else is.
"""

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from pydantic import SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from cache_schema.errors import StoreCorruptError
from cache_schema.layout import SCHEMA_VERSION
from cache_schema.parsing import EVERY_FIELD, parse, record, to_json

__all__ = [
    "DecoderRecipe",
    "EncoderRecipe",
    "Interpolation",
    "PreprocessRecipe",
    "Recipe",
    "SamplingRecipe",
    "derived_recipe",
    "read_recipe",
]

Interpolation = Literal["bilinear", "bicubic"]
UNKNOWN: Literal["unknown"] = "unknown"


@record
class EncoderRecipe:
    """The network that turned a window of frames into one feature."""

    id: str
    """Name of a built-in encoder, hub id, or the last part of a local folder's path; of others'
    code ``mine.py:Name@sha256:...`` or ``name@package==version``."""
    weights_sha256: str
    """SHA-256 over names, shapes and bytes of the weights; ``unknown`` for imported features."""
    compute_dtype: Literal["float32", "bfloat16", "float16", "unknown"]
    pooling: Literal["default", "cls", "mean", "grid", "unknown"]
    """How a window's token grid became one row."""
    runtime: Literal["torch", "openvino"] = "torch"
    """The library that ran the network. Written only where it is another one than torch: so recipes
    from before there was a choice keep their fingerprints."""

    @model_serializer(mode="wrap")
    def _without_torch(
        self, fields: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, object]:
        written: dict[str, object] = fields(self)
        if self.runtime == "torch" and info.context != EVERY_FIELD:
            del written["runtime"]
        return written


@record
class PreprocessRecipe:
    """What happens to a decoded RGB frame before the network; all on tensors, antialiased."""

    resize: Literal["shortest_edge", "exact"]
    """``shortest_edge`` keeps the aspect ratio; ``exact`` does not."""
    size: tuple[int, int]
    """Height and width in pixels; equal numbers for ``shortest_edge``."""
    crop: tuple[int, int] | None
    """Height and width of the centre crop in pixels."""
    interpolation: Interpolation
    mean: tuple[float, float, float]
    """Per RGB channel, of pixels scaled to [0, 1]."""
    std: tuple[float, float, float]


@record
class SamplingRecipe:
    """Which frames make which row."""

    fps: Fraction | None
    """Sampled frames per second of video time; None takes every frame (of imported features: rows
    have times of their own)."""
    frames_per_window: int
    """Sampled frames that make one row."""
    stride_frames: int
    """Sampled frames between the starts of consecutive rows."""

    def __post_init__(self) -> None:
        for name in ("frames_per_window", "stride_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if self.fps is not None and self.fps <= 0:
            raise ValueError(f"fps is {self.fps}, must be positive")


@record
class DecoderRecipe:
    """Which library turned the file into frames, at which version.

    Both backends' versions are part of it, since a video that decord cannot read right is read by
    PyAV; the record of each video says which one was used.
    """

    backend: Literal["pyav", "decord"]
    version: str


@record
class Recipe:
    """Everything that determines the rows of a stream."""

    origin: Literal["extracted", "imported", "derived"]
    """``derived`` rows are never stored: they are made of the parents' when they are read."""
    encoder: EncoderRecipe
    sampling: SamplingRecipe
    preprocess: PreprocessRecipe | None
    """None for imported features: nobody knows."""
    decoder: DecoderRecipe | None
    store_dtype: Literal["float16", "bfloat16", "float32"]
    schema_version: int = SCHEMA_VERSION
    derivation: Literal["join", "motion"] | None = None
    """What is done to the parents, if anything (``cache_schema.derived``)."""
    parents: "tuple[Recipe, ...]" = ()
    """Of derived rows. Both are written only where there is a derivation: so all other recipes keep
    their fingerprints."""

    @model_serializer(mode="wrap")
    def _without_derivation(
        self, fields: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, object]:
        written: dict[str, object] = fields(self)
        if self.derivation is None and info.context != EVERY_FIELD:
            for name in ("derivation", "parents"):
                written.pop(name, None)
        return written

    @property
    def stored(self) -> "tuple[Recipe, ...]":
        """The recipes of what these rows are, or are made of, each once."""
        found = (one for parent in self.parents for one in parent.stored)
        return tuple({one.fingerprint: one for one in found}.values()) or (self,)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the recipe's canonical JSON."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()


def derived_recipe(
    derivation: Literal["join", "motion"], parents: Sequence[Recipe], sampling: SamplingRecipe
) -> Recipe:
    """Return the recipe of rows that are made of others' when they are read, in float32.

    Args:
        derivation: What is done to them.
        parents: Recipes of what they are made of.
        sampling: Of the rows that are made.
    """
    names = "+".join(parent.encoder.id for parent in parents)
    encoder = EncoderRecipe(
        id=f"{derivation}({names})",
        weights_sha256=UNKNOWN,
        compute_dtype=UNKNOWN,
        pooling=UNKNOWN,
    )
    return Recipe(
        origin="derived",
        encoder=encoder,
        sampling=sampling,
        preprocess=None,
        decoder=None,
        store_dtype="float32",
        derivation=derivation,
        parents=tuple(parents),
    )


def read_recipe(text: str, fingerprint: object, *, where: str, hint: str) -> Recipe:
    """Return a recipe that was stored as JSON, proven by the fingerprint stored beside it.

    Args:
        text: The recipe.
        fingerprint: What was stored as its fingerprint.
        where: File or stream, for the message.
        hint: What to do if it is damaged.

    Raises:
        StoreCorruptError: if it is none, or has another fingerprint.
    """
    try:
        recipe = parse(Recipe, text, where="recipe", error=StoreCorruptError)
    except StoreCorruptError as error:
        said = " ".join(str(error).splitlines())
        raise StoreCorruptError(f"{where}: {said} {hint}") from error
    if fingerprint != recipe.fingerprint:
        raise StoreCorruptError(
            f"{where}: fingerprint is {fingerprint}, its recipe makes {recipe.fingerprint}; one of "
            f"the two was altered. {hint}"
        )
    return recipe
