"""What the system says when a store cannot be written, as one sentence that says what to do."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_schema.errors import PipelineError, StoreError

__all__ = ["write_errors"]

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def write_errors(path: Path | str, *others: type[Exception]) -> Iterator[None]:
    """Turn the block's ``OSError`` into a ``StoreError`` about ``path``.

    Args:
        path: What is being written.
        others: Further errors that mean the same; h5py has some of its own.
    """
    kinds: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except PipelineError:
        raise  # some of them are OSErrors too
    except kinds as error:
        raise StoreError(_sentence(path, error)) from error


def _sentence(path: Path | str, error: Exception) -> str:
    number = _number(error)
    reason = os.strerror(number) if number else str(error)
    if number in NO_ROOM:
        hint = "What was committed is kept: make room, then run the same command again."
    elif number in NOT_ALLOWED:
        hint = "Make it writable, or choose another place."
    else:
        hint = "What was committed is kept: run the same command again."
    return f"{path}: cannot be written ({reason}). {hint}"


def _number(error: Exception) -> int | None:
    """Return the system's number of an error, which HDF5 only mentions in its text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None
