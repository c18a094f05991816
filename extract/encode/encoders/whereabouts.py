"""Where to load the encoder from that others' rows were made with."""

from collections.abc import Iterator
from contextlib import contextmanager

from cache_schema.errors import ConfigError
from cache_schema.recipe import EncoderRecipe
from extract.encode.encoders import is_here
from extract.encode.encoders.foreign import name_of

__all__ = ["found_encoder"]


@contextmanager
def found_encoder(made_with: EncoderRecipe, given: str | None, source: str) -> Iterator[str]:
    """Yield the name to load an encoder by, for a block that loads it.

    What is given; else the source, if it can be found here; else the recipe's id. Whether its
    weights are the right ones is for ``check_recipe`` to say.

    Args:
        made_with: The encoder's part of the rows' recipe.
        given: Where the user says that it lies.
        source: By which name it was loaded when the rows were made; empty if nobody knows.

    Raises:
        ConfigError: if nothing was given and none can be found or loaded: what the rows were made
            with, where that came from, and what to do.
    """
    if given is not None:
        yield given
        return
    names = filter(None, (source, name_of(made_with.id)))
    name = next(filter(is_here, names), None)
    said = _sentence(made_with, source)
    if name is None:
        raise ConfigError(f"{said}; it cannot be found here: say where it lies now with --encoder.")
    try:
        yield name
    except ConfigError as error:
        raise ConfigError(
            f"{error} {said}: if it lies elsewhere now, say where with --encoder."
        ) from error


def _sentence(made_with: EncoderRecipe, source: str) -> str:
    came_from = f"loaded from '{source}'" if source else "loaded from nobody noted where"
    return (
        f"The features were made with encoder '{made_with.id}' (SHA-256 of its weights "
        f"{made_with.weights_sha256[:12]}...), {came_from}"
    )
