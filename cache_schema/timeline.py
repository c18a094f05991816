"""Video time: from sampled frames to windows and rows, and from seconds back to rows.

Pure arithmetic in exact integers; knows nothing of files. Both stages use these functions, so a
label finds the row that was made from the frames it describes. ``cache_schema.frame_sampler`` says
which frames are sampled.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache_schema.recipe import SamplingRecipe

__all__ = ["RowClock", "count_rows", "first_bad_time", "rows_between"]


def count_rows(num_frames: int, frames_per_window: int, stride_frames: int) -> int:
    """Count the windows needed so that every sampled frame a window can reach is covered.

    The last window may reach past the last frame; it is padded by repeating that frame. With a
    stride longer than the window, frames in the gaps are left out on purpose.

    Examples:
        >>> count_rows(10, 4, 3), count_rows(11, 4, 3), count_rows(2, 4, 3), count_rows(11, 1, 3)
        (3, 4, 1, 4)
    """
    if num_frames < 1:
        return 0
    to_cover_tail = 1 + math.ceil(max(0, num_frames - frames_per_window) / stride_frames)
    with_a_start_inside = math.ceil(num_frames / stride_frames)
    return min(to_cover_tail, with_a_start_inside)


@dataclass(frozen=True)
class RowClock:
    """Start and end of every row of one video, in seconds."""

    sampling: SamplingRecipe
    end_seconds: float
    """End of the last frame's display."""

    def times(
        self, first_row: int, num_rows: int, frame_seconds: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return ``(num_rows, 2)`` start and end seconds.

        A row spans its ticks: from its first tick to the tick after its last. Without a sampling
        rate every frame is a tick and ``frame_seconds`` (all frames of the video, shape (N,))
        gives their times. The end never exceeds the end of the video.
        """
        stride, window = self.sampling.stride_frames, self.sampling.frames_per_window
        starts = (np.arange(num_rows) + first_row) * stride
        tick_seconds = self._tick_seconds(starts, frame_seconds)
        end_seconds = self._tick_seconds(starts + window, frame_seconds)
        return np.stack([tick_seconds, np.minimum(end_seconds, self.end_seconds)], axis=1)

    def _tick_seconds(
        self, ticks: NDArray[np.int64], frame_seconds: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        fps = self.sampling.fps
        if fps is not None:
            # One exact product and one rounding: 30000/1001 must not drift over hours.
            return np.array([float(int(tick) / fps) for tick in ticks], dtype=np.float64)
        if frame_seconds is None:
            raise ValueError("frame_seconds is needed when every frame is a tick (fps = None)")
        padded = np.append(frame_seconds, self.end_seconds)
        return padded[np.minimum(ticks, len(frame_seconds))]


def rows_between(
    times_R2: NDArray[np.float64], start_seconds: float, end_seconds: float
) -> tuple[int, int]:
    """Return the half-open range of rows that overlap ``[start_seconds, end_seconds)``.

    Args:
        times_R2: Start and end of each row, both non-decreasing.
        start_seconds: From the container's start.
        end_seconds: Exclusive; may lie behind the last row.

    Examples:
        >>> rows_between(np.array([[0.0, 0.5], [0.5, 1.0], [1.0, 1.5]]), 0.5, 1.0)
        (1, 2)
    """
    first = int(np.searchsorted(times_R2[:, 1], start_seconds, side="right"))
    last = int(np.searchsorted(times_R2[:, 0], end_seconds, side="left"))
    return first, max(first, last)


def first_bad_time(times_R2: NDArray[np.float64]) -> int | None:
    """Return the first row whose times no store may hold (docs/format.md, section 1), or None.

    They are finite, each start lies before its end, and neither starts nor ends decrease.

    Examples:
        >>> first_bad_time(np.array([[0.0, 1.0], [0.5, 0.9]])), first_bad_time(np.zeros((0, 2)))
        (1, None)
    """
    good = np.isfinite(times_R2).all(axis=1) & (times_R2[:, 0] < times_R2[:, 1])
    good[1:] &= (times_R2[1:] >= times_R2[:-1]).all(axis=1)
    return None if good.all() else int(np.argmin(good))
