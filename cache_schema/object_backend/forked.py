"""What a forked process says instead of waiting for ever: a bucket's client is not in it."""

import os
from functools import cache

from cache_schema.errors import StoreError

__all__ = ["check_not_forked"]


def check_not_forked() -> None:
    """Let only one process, and none that is forked from it, ask buckets for anything.

    Threads are not there after a fork: neither those of obstore, which starts them once in a
    process and no second time, nor ours; and a lock that one of them held is never let go.

    Raises:
        StoreError: in a process that was forked from one that called this.
    """
    if _process() != os.getpid():
        raise StoreError(
            "a bucket cannot be read or written by a process that was forked from one that did "
            "so: nobody would answer it. Start such processes anew; a torch DataLoader does with "
            'multiprocessing_context="spawn".'
        )


@cache
def _process() -> int:
    """Return the process that asked first, also behind a fork."""
    return os.getpid()
