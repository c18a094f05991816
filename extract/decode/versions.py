"""Names and versions of the decoders, as recipes record them; imports none of them."""

from functools import cache
from importlib.metadata import version
from typing import Literal

__all__ = ["decord_version", "pyav_version", "recipe_version"]


@cache
def pyav_version() -> str:
    """Return the name and version of the reference backend."""
    return f"pyav {version('av')}"


@cache
def decord_version() -> str:
    """Return the name and version of the decord backend."""
    return f"decord {version('decord')}"


def recipe_version(backend: Literal["pyav", "decord"]) -> str:
    """Return the versions of everything that may read a video when a backend is asked for."""
    return pyav_version() if backend == "pyav" else f"{decord_version()}, {pyav_version()}"
