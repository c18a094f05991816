"""What all ways to share a store have in common: looked at first, then done, then told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cache_schema.store import Store

__all__ = ["Progress", "Transfer", "Transferred", "same_videos"]

Progress = Callable[[int], object]
"""Called with a number of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transferred:
    """What was missing at a place, and has been brought there."""

    source: str
    target: str
    num_videos: int
    num_rows: int
    num_held: int
    """Videos that were there before."""
    commit: str | None = None
    """The hub's name of the state that was read or made; None for buckets, and if nothing was."""
    is_new: bool = False
    """Whether a repository was made."""


def same_videos(one: Store, other: Store) -> bool:
    """Tell whether two stores have streams and videos of the same names."""
    left, right = (
        {name: stream.video_ids for name, stream in store.streams.items()} for store in (one, other)
    )
    return left == right


class Transfer(Protocol):
    """What is to be brought somewhere."""

    @property
    def outlook(self) -> Transferred:
        """What will have been brought there."""

    @property
    def bar_rows(self) -> int:
        """Rows that progress will be told of."""

    def run(self, progress: Progress) -> Transferred:
        """Bring it there; a killed call is finished by the next one.

        Args:
            progress: Called with numbers of rows that are there now.
        """
