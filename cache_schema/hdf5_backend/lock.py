"""Who may write an HDF5 file: one process, from its first look at the file until it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_schema.errors import StoreError

__all__ = ["lock_file", "locked_folder"]


def lock_file(path: Path) -> int:
    """Return a descriptor whose lock lasts as long as this process, however it ends.

    Whoever wants to write must get the exclusive lock first; it is kept as a shared one, because
    that is what HDF5 readers ask for.

    Raises:
        StoreError: if another process has the file.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino != path.stat().st_ino:
            raise BlockingIOError("replaced by another writer")
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreError(
            f"{path}: another process writes it, or reads it with HDF5's own locks. An HDF5 store "
            "takes one writer at a time; wait for it, or use a .zarr store."
        ) from error
    except OSError as error:
        os.close(descriptor)
        raise StoreError(
            f"{path}: cannot be locked ({error.strerror}). Use a .zarr store on this file system."
        ) from error
    return descriptor


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep two writers from making the same file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
