"""Parts that other installed packages offer, found by entry points; errors say whose they are.

Finding one runs nothing of it.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from cache_schema.errors import ConfigError, PipelineError

__all__ = ["InstalledPart", "find_installed", "installed_names", "their_errors"]

_OUR_PACKAGES = {Path(__file__).parents[1] / name for name in ("cache_schema", "extract", "train")}


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledPart:
    """What an installed package offers under a name."""

    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def whose(self) -> str:
        """Whose it is, for a sentence: ``of the package NAME VERSION (module:Class)``."""
        return f"of the package {self.distribution} {self.version} ({self.entry_point.value})"


def find_installed(group: str, kind: str, name: str, *, instead: str) -> InstalledPart | None:
    """Return the part that one installed package offers under a name, or None.

    Args:
        group: Of entry points.
        kind: What the part is, for messages.
        name: Of the entry point.
        instead: What to do besides uninstalling if two packages offer it.

    Raises:
        ConfigError: if two installed packages offer a part of this name.
    """
    found = {_distribution(one): one for one in entry_points(group=group, name=name)}
    if len(found) > 1:
        offers = " and ".join(" ".join(owner) for owner in sorted(found))
        raise ConfigError(
            f"{kind} '{name}': is offered by {offers}. Uninstall one of them{instead}."
        )
    for (distribution, version), entry_point in found.items():
        return InstalledPart(distribution=distribution, version=version, entry_point=entry_point)
    return None


def installed_names(group: str) -> list[str]:
    """Return the names of all parts of a group that installed packages offer."""
    return sorted({one.name for one in entry_points(group=group)})


@contextmanager
def their_errors(
    whose: str, what: str, error_type: type[PipelineError] = ConfigError
) -> Iterator[None]:
    """Turn any error of others' code into one sentence that says whose it is.

    Errors of ours pass: they are sentences already.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        raise error_type(
            f"{whose}: {what}{_place(error)}: {type(error).__name__}: {error}. "
            "See docs/extending.md."
        ) from error


def _place(error: Exception) -> str:
    """Return where in their first file an error came up, as `` (mine.py, line 3)``."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_ours(frame.filename)]
    if not theirs:
        return ""  # a syntax error, which tells its own place
    line = [frame.lineno for frame in theirs if frame.filename == theirs[0].filename][-1]
    return f" ({Path(theirs[0].filename).name}, line {line})"


def _is_ours(file: str) -> bool:
    """Tell whether a line of a traceback is of these packages, or of Python's own import."""
    return "importlib" in file or any(Path(file).is_relative_to(one) for one in _OUR_PACKAGES)


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    """Return the name and version of the package that an entry point is of."""
    assert entry_point.dist is not None  # those found by entry_points() have one
    return entry_point.dist.name, entry_point.dist.version
