"""Which row of the feature store speaks for an instant.

Row times (T, 2) and instants (N,) in seconds in, row indices (N,) out. One function for tasks that
see the whole video, one for tasks that must not look ahead.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROUNDING_SECONDS", "rows_at", "rows_completed_by"]

ROUNDING_SECONDS = 1e-6
"""Instants that differ by less are the same one: a row's end and a label's border, say."""


def rows_at(times_T2: NDArray[np.float64], seconds_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the row that covers each instant; of several, the one whose centre is nearest.

    An instant that no row covers gets the row before it, and the first row if there is none.

    Examples:
        >>> rows_at(np.array([[0.0, 1.0], [1.0, 1.2]]), np.array([0.95, 1.0, 7.0]))
        array([0, 1, 1])
    """
    starts_T, ends_T = times_T2.T
    centres_T = (starts_T + ends_T) / 2
    nearest_N = np.searchsorted((centres_T[1:] + centres_T[:-1]) / 2, seconds_N, side="right")
    covers_N = (starts_T[nearest_N] <= seconds_N) & (seconds_N < ends_T[nearest_N])
    # A last row cut short by the end of the video has its centre too near to the row before.
    started_N = np.maximum(np.searchsorted(starts_T, seconds_N, side="right") - 1, 0)
    return np.where(covers_N, nearest_N, started_N)


def rows_completed_by(
    times_T2: NDArray[np.float64], seconds_N: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the latest row that ends at or before each instant, -1 where none does yet.

    Examples:
        >>> rows_completed_by(np.array([[0.0, 1.0], [1.0, 2.0]]), np.array([0.9, 1.0, 5.0]))
        array([-1,  0,  1])
    """
    return np.searchsorted(times_T2[:, 1], seconds_N, side="right") - 1
