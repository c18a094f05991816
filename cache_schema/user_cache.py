"""Where things are kept that can be made again: the user's cache folder."""

import os
from contextlib import suppress
from pathlib import Path

from cache_schema.writing.durable import replaced_file

__all__ = ["keep", "kept", "user_cache_folder"]


def user_cache_folder() -> Path:
    """Return this project's folder in the user's cache; it may not be there.

    Raises:
        RuntimeError: if nothing says where the user's home is.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "video-feature-llm"


def kept(name: str) -> bytes | None:
    """Return what was kept by this name, ``folder/file``; None if there is nothing to read."""
    with suppress(OSError, RuntimeError):
        return (user_cache_folder() / name).read_bytes()
    return None


def keep(name: str, content: bytes) -> None:
    """Keep something for the next time; where that cannot be done, it is made again."""
    with suppress(OSError, RuntimeError):
        path = user_cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as temporary:
            temporary.write_bytes(content)
