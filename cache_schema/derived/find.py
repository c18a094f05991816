"""Names, or a recipe, -> a stream of a store, stored or derived of what is stored."""

from collections.abc import Callable, Sequence
from fractions import Fraction

from cache_schema.derived.join import JoinedStream
from cache_schema.derived.motion import MOTION, MotionStream
from cache_schema.recipe import Recipe
from cache_schema.store import Store
from cache_schema.stream import Stream

__all__ = ["chosen_stream", "derive_like"]


def chosen_stream(
    store: Store, names: Sequence[str] = (), rows_per_second: Fraction | None = None
) -> Stream:
    """Return the stream of these names.

    Args:
        store: Where to look.
        names: One, several to be joined, or none, which takes the only one; ``NAME:motion``
            is the motion of the stream ``NAME``.
        rows_per_second: Of the time line of several; None takes the rows of the first.

    Raises:
        ConfigError: if a name is unknown, or there is none while the store holds several.
        StoreError: if several have no video in common.
    """
    streams = [_named(store, name) for name in names or (None,)]
    if len(streams) == 1 and rows_per_second is None:
        return streams[0]
    return JoinedStream(streams, rows_per_second)


def derive_like(recipe: Recipe, find: Callable[[Recipe], Stream]) -> Stream:
    """Return the stream of a recipe, derived where the recipe is.

    Args:
        recipe: Of any stream.
        find: Returns the stream of a recipe that is not derived.
    """
    if recipe.derivation is None:
        return find(recipe)
    parents = [derive_like(parent, find) for parent in recipe.parents]
    if recipe.derivation == "motion":
        return MotionStream(parents[0])
    has_own_line = recipe.sampling != recipe.parents[0].sampling
    return JoinedStream(parents, recipe.sampling.fps if has_own_line else None)


def _named(store: Store, name: str | None) -> Stream:
    if name is None or not name.endswith(MOTION):
        return store.stream(name)
    return MotionStream(store.stream(name.removesuffix(MOTION)))
