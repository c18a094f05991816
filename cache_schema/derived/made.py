"""What streams have in common whose rows are made when they are read."""

import numpy as np

from cache_schema.stream import FeatureRows, Stream
from cache_schema.window_checks import rows_within

__all__ = ["MadeStream"]


class MadeStream(Stream):
    """A stream that says how a batch of windows is made; the rest follows from that."""

    def read(
        self,
        video_id: str,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> FeatureRows:
        """See ``Stream.read``."""
        times_R2 = self.times(video_id)
        first, last = rows_within(self.name, times_R2, start_seconds, end_seconds)
        values = np.empty((1, last - first, *self.row_shape), self.numpy_dtype)
        self.read_windows([(video_id, first, last - first)], values)
        return FeatureRows(values=values[0], times_R2=times_R2[first:last])
