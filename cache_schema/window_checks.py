"""What is asked of windows before a batch of them is read: once, because training waits for it.

Shapes: B windows, T rows of the longest.
"""

from collections.abc import Sequence

import numpy as np

from cache_schema.errors import StoreError
from cache_schema.stored_numbers import Array

__all__ = ["check_batch", "leaves_video"]


def check_batch(
    stream: str,
    windows: Sequence[tuple[str, int, int]],
    out: Array,
    dtype: np.dtype[np.generic],
    row_shape: tuple[int, ...],
) -> None:
    """Raise unless windows fit into the array that they are to fill.

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
