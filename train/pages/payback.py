"""How often a feature cache has paid for itself.

Without the cache every epoch would decode and encode its videos again. With the cache that was done
once. So the cache has saved one extraction for every epoch behind the first, over all runs that
read it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["FORMULA", "EpochsRead", "Payback", "payback"]

FORMULA = (
    "An extraction takes E seconds, an epoch on its features T seconds. N epochs cost E + N·T with "
    "the cache and N·(E + T) without: it saves (N − 1)·E and has paid for itself N − 1 times."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochsRead:
    """Epochs of one run, and what they read."""

    epochs: int
    share: float
    """Rows that an epoch reads / rows of the stream: E is scaled by it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Payback:
    """What a cache has saved."""

    num_runs: int
    epochs: int
    """N, over all runs."""
    extraction_seconds: float
    """E: decoding and encoding what the runs read, once."""
    saved_seconds: float
    """Negative before the first epoch is done."""

    @property
    def times(self) -> float:
        """How often the cache has paid for itself; -1 before the first epoch is done."""
        return self.saved_seconds / self.extraction_seconds


def payback(extraction_seconds: float, runs: Sequence[EpochsRead]) -> Payback | None:
    """Return what a cache has saved in the runs that read it; they share its extraction.

    Args:
        extraction_seconds: Of all rows of the stream; at least 0.
        runs: One or more. Of what they read the largest share counts as extracted once.

    Returns:
        None where nothing was extracted or read, so that nothing can be said.

    Examples:
        >>> payback(100.0, [EpochsRead(epochs=20, share=0.5)])
        Payback(num_runs=1, epochs=20, extraction_seconds=50.0, saved_seconds=950.0)
    """
    once = extraction_seconds * max(run.share for run in runs)
    if not once:
        return None
    without = sum(run.epochs * run.share * extraction_seconds for run in runs)
    return Payback(
        num_runs=len(runs),
        epochs=sum(run.epochs for run in runs),
        extraction_seconds=once,
        saved_seconds=without - once,
    )
