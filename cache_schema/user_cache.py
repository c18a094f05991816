"""Where things are kept that can be made again: the user's cache folder."""

import os
from pathlib import Path

__all__ = ["user_cache_folder"]


def user_cache_folder() -> Path:
    """Return this project's folder in the user's cache; it may not be there.

    Raises:
        RuntimeError: if nothing says where the user's home is.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "video-feature-llm"
