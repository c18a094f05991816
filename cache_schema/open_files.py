"""How many files this process may have open: a store may have more parts than the usual 1,024."""

import resource
from contextlib import suppress

__all__ = ["allow_many_files", "most_files"]


def allow_many_files() -> None:
    """Let this process have as many open files as it may: maps of parts keep theirs open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # then who opens one too many is told
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_files() -> int:
    """Return how many files this process may have open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft
