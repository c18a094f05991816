"""How features change: the difference of each row and the one before it.

A cheap stand-in for optical flow. Nothing is stored: the rows are made when they are read.

Shapes: B windows, T rows of a window.
"""

from collections.abc import Sequence

import numpy as np

from cache_schema.derived.made import MadeStream
from cache_schema.recipe import derived_recipe
from cache_schema.stored_numbers import Array, as_float32
from cache_schema.stream import Stream
from cache_schema.window_checks import check_batch

__all__ = ["MOTION", "MotionStream"]

MOTION = ":motion"
"""Behind a stream's name: its motion. No stored stream has such a name."""


class MotionStream(MadeStream):
    """Row k is row k of another stream less its row k - 1, in float32; a first row is zero."""

    def __init__(self, parent: Stream) -> None:
        super().__init__(
            f"{parent.name}{MOTION}",
            derived_recipe("motion", [parent.recipe], parent.recipe.sampling),
            parent.row_shape,
            parent.parts,
            is_far=parent.is_far,
        )
        self._parent = parent

    @property
    def stored(self) -> tuple[Stream, ...]:
        """See ``Stream.stored``."""
        return self._parent.stored

    def fetch(self, windows: Sequence[tuple[str, int, int]]) -> None:
        """See ``Stream.fetch``."""
        self._parent.fetch(_with_row_before(windows))

    def read_windows(self, windows: Sequence[tuple[str, int, int]], out: Array) -> None:
        """See ``Stream.read_windows``."""
        check_batch(self.name, windows, out, self.numpy_dtype, self.row_shape)
        before = [int(first > 0) for _, first, _ in windows]
        spans = _with_row_before(windows)
        parent = self._parent
        stored = np.empty((len(spans), out.shape[1] + 1, *self.row_shape), parent.numpy_dtype)
        parent.read_windows(spans, stored)
        values = as_float32(stored, parent.recipe.store_dtype)
        for target, rows, extra, (_, _, count) in zip(out, values, before, windows, strict=True):
            own = rows[: count + extra]
            target[:] = 0
            target[1 - extra : count] = np.diff(own, axis=0)


def _with_row_before(windows: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Return the windows of the other stream, each with the row before it, if there is one."""
    return [
        (video_id, first - int(first > 0), count + int(first > 0))
        for video_id, first, count in windows
    ]
