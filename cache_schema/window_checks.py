"""What is asked of windows and spans before their rows are read.

Shapes: B windows, T rows of the longest, R rows of a video.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import StoreError
from cache_schema.stored_numbers import Array
from cache_schema.timeline import rows_between

__all__ = ["check_batch", "leaves_video", "rows_within"]


def check_batch(
    stream: str,
    windows: Sequence[tuple[str, int, int]],
    out: Array,
    dtype: np.dtype[np.generic],
    row_shape: tuple[int, ...],
) -> None:
    """Raise unless windows fit into the array that they are to fill; once, training waits for it.

    Args:
        stream: Its name, for messages.
        windows: (video id, first row, number of rows) of each.
        out: To be filled.
        dtype: Of the stream's rows.
        row_shape: Of them.

    Raises:
        StoreError: if ``out`` is not (B, T, *row_shape) of the dtype, or a window longer than T.
    """
    shape, num_windows = out.shape, len(windows)
    if out.dtype != dtype or len(shape) < 2 or shape[2:] != row_shape or shape[0] != num_windows:
        sizes = ", ".join([str(num_windows), "T", *map(str, row_shape)])
        raise StoreError(
            f"stream '{stream}': out is {out.dtype} {shape}, expected {dtype} ({sizes}) for "
            f"{num_windows} windows of up to T rows. Make it in the stream's numpy_dtype."
        )
    counts = [count for _, _, count in windows]
    if counts and not 0 <= min(counts) <= max(counts) <= shape[1]:
        raise StoreError(
            f"stream '{stream}': windows have {min(counts)} to {max(counts)} rows, expected 0 to "
            f"{shape[1]}, which is what out takes. Make it longer, or the windows shorter."
        )


def leaves_video(stream: str, window: tuple[str, int, int], video_rows: int) -> StoreError:
    """Return the error that names a window with rows its video does not have."""
    video_id, first_row, num_rows = window
    return StoreError(
        f"stream '{stream}': window [{first_row}, {first_row + num_rows}) of '{video_id}' leaves "
        f"its {video_rows} rows."
    )


def rows_within(
    stream: str,
    times_R2: NDArray[np.float64],
    start_seconds: float | None,
    end_seconds: float | None,
) -> tuple[int, int]:
    """Return the half-open range of rows that overlap a span; None is no bound.

    Raises:
        StoreError: if a bound is NaN, which lies nowhere.
    """
    start = -math.inf if start_seconds is None else start_seconds
    end = math.inf if end_seconds is None else end_seconds
    if math.isnan(start) or math.isnan(end):
        raise StoreError(
            f"stream '{stream}': rows of [{start}, {end}) s were asked for, expected numbers of "
            "seconds, or None for no bound."
        )
    return rows_between(times_R2, start, end)
