"""What values each dimension takes: dead and nearly constant ones, ranges, what is no number.

Shapes: K values of each dimension, D feature dim.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NEARLY", "DimensionFacts", "DimensionSums"]

NEARLY = 0.01
"""A dimension whose deviation is below this share of the median one tells nearly nothing."""

LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float(np.finfo(np.float32).max),
}

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DimensionFacts:
    """Of the values looked at; each token of a grid counts."""

    num_values: int
    """Of each dimension."""
    low_D: Doubles
    high_D: Doubles
    mean_D: Doubles
    deviation_D: Doubles
    """Standard deviation. These four are NaN where no value is a number."""
    num_not_finite_D: NDArray[np.int64]
    """Values that are infinite or no number."""
    num_largest_D: NDArray[np.int64]
    """Values at the largest number of the store's dtype, which more may have been cut to."""

    @property
    def constant(self) -> list[int]:
        """Dimensions that have the same value in every row."""
        return np.flatnonzero(self.low_D == self.high_D).tolist()

    @property
    def nearly_constant(self) -> list[int]:
        """Dimensions that vary, but hardly, compared with the others."""
        varies_D = self.high_D > self.low_D
        if not varies_D.any():
            return []
        limit = NEARLY * np.median(self.deviation_D[varies_D])
        return np.flatnonzero(varies_D & (self.deviation_D < limit)).tolist()

    @property
    def not_finite(self) -> list[int]:
        """Dimensions with values that are infinite or no number."""
        return np.flatnonzero(self.num_not_finite_D).tolist()

    @property
    def at_largest(self) -> list[int]:
        """Dimensions with values at the largest number of the store's dtype."""
        return np.flatnonzero(self.num_largest_D).tolist()

    def summary(self) -> dict[str, object]:
        """Return the facts as plain JSON values."""
        return {
            "num_values": self.num_values,
            "constant": self.constant,
            "nearly_constant": self.nearly_constant,
            "not_finite": _counts(self.num_not_finite_D),
            "at_largest": _counts(self.num_largest_D),
            **{
                name: [float(v) if np.isfinite(v) else None for v in values]
                for name, values in (
                    ("low", self.low_D),
                    ("high", self.high_D),
                    ("mean", self.mean_D),
                    ("deviation", self.deviation_D),
                )
            },
        }


class DimensionSums:
    """Adds up values block by block (Chan, Golub and LeVeque, 1983)."""

    def __init__(self, num_dims: int, store_dtype: str) -> None:
        self._largest = LARGEST[store_dtype]
        self._num_values = 0
        self._count_D = np.zeros(num_dims, np.int64)
        self._num_largest_D = np.zeros(num_dims, np.int64)
        self._low_D = np.full(num_dims, np.inf)
        self._high_D = np.full(num_dims, -np.inf)
        self._mean_D = np.zeros(num_dims)
        self._squares_D = np.zeros(num_dims)

    def add(self, values_KD: NDArray[np.float32]) -> None:
        """Add values of every dimension."""
        finite_KD = np.isfinite(values_KD)
        self._num_values += len(values_KD)
        self._num_largest_D += (np.abs(values_KD) == self._largest).sum(axis=0)
        self._low_D = np.minimum(self._low_D, values_KD.min(0, where=finite_KD, initial=np.inf))
        self._high_D = np.maximum(self._high_D, values_KD.max(0, where=finite_KD, initial=-np.inf))
        count_D = finite_KD.sum(axis=0)
        mean_D = values_KD.sum(0, dtype=np.float64, where=finite_KD) / np.maximum(count_D, 1)
        away_KD = np.where(finite_KD, values_KD, mean_D) - mean_D
        squares_D = np.square(away_KD).sum(axis=0)
        total_D = np.maximum(self._count_D + count_D, 1)
        gap_D = mean_D - self._mean_D
        self._squares_D += squares_D + gap_D**2 * self._count_D * count_D / total_D
        self._mean_D += gap_D * count_D / total_D
        self._count_D += count_D

    def facts(self) -> DimensionFacts:
        """Return what was added up."""
        has_any_D = self._count_D > 0

        def known(values_D: Doubles) -> Doubles:
            return np.where(has_any_D, values_D, np.nan)

        return DimensionFacts(
            num_values=self._num_values,
            low_D=known(self._low_D),
            high_D=known(self._high_D),
            mean_D=known(self._mean_D),
            deviation_D=known(np.sqrt(self._squares_D / np.maximum(self._count_D, 1))),
            num_not_finite_D=self._num_values - self._count_D,
            num_largest_D=self._num_largest_D,
        )


def _counts(counts_D: NDArray[np.int64]) -> dict[str, int]:
    return {str(dim): int(counts_D[dim]) for dim in np.flatnonzero(counts_D)}
