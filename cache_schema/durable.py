"""Files that are either whole or absent, whatever instant the process or the machine stops."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replaced_file", "sync_path"]


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there takes its place at the end.

    The content is on disk before the name is. If the block fails, nothing of it stays.
    """
    # The suffix stays last: some libraries tell a format by it.
    temporary = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        yield temporary
        sync_path(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
