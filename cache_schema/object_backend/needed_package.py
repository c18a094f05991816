"""Packages that only places that are no path need."""

import importlib
from typing import Any

from cache_schema.errors import ConfigError
from cache_schema.place import Address

__all__ = ["needed_package"]


def needed_package(name: str, address: Address) -> Any:  # noqa: ANN401 - a module
    """Return a module that reaches such a place.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{address}: places that are no path need packages that are not installed "
            f"({name.partition('.')[0]}): pip install 'video-feature-llm[remote]'."
        ) from error
