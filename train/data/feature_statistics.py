"""Mean and deviation of each feature dimension over the training rows, in one streamed pass.

Shapes: R rows, N tokens of a grid row, D feature width.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cache_schema.errors import StoreError
from cache_schema.stored_numbers import as_float32
from cache_schema.stream import RowSpan, Stream
from train.data.fetched_ahead import fetched_ahead
from train.data.samples import SampleRows, stored_spans

__all__ = ["feature_statistics"]

BLOCK_ROWS = 1024
SMALLEST_STD = 1e-6
"""A dimension that varies less is constant: it is centred and not blown up."""

Vector = NDArray[np.float64]


def feature_statistics(stream: Stream, samples: Sequence[SampleRows]) -> tuple[Vector, Vector]:
    """Return (mean_D, std_D) over the rows of these samples; grid rows are pooled first.

    Blocks are merged in float64 by Chan, Golub and LeVeque's pairwise update (1979), so the
    result does not lose digits however many rows there are.

    Raises:
        StoreError: if a video holds infinite or undefined features.
    """
    count = 0
    mean_D = np.zeros(stream.row_shape[-1])
    squares_D = np.zeros_like(mean_D)
    for video_id, block_RD in _blocks(stream, samples):
        total = count + len(block_RD)
        block_mean_D = block_RD.mean(axis=0)
        delta_D = block_mean_D - mean_D
        squares_D += ((block_RD - block_mean_D) ** 2).sum(axis=0)
        squares_D += delta_D**2 * (count * len(block_RD) / total)
        mean_D += delta_D * (len(block_RD) / total)
        count = total
        if not np.isfinite(squares_D).all():
            raise StoreError(
                f"stream '{stream.name}': video '{video_id}' holds infinite or undefined "
                "features. Extract it again, in bfloat16 or float32 if float16 overflowed."
            )
    std_D = np.sqrt(squares_D / max(1, count))
    return mean_D, np.where(std_D < SMALLEST_STD, 1.0, std_D)


def _blocks(stream: Stream, samples: Sequence[SampleRows]) -> Iterator[tuple[str, Vector]]:
    """Yield (video id, rows in float64), every row of a sample once."""
    buffer = np.empty((1, BLOCK_ROWS, *stream.row_shape), stream.numpy_dtype)
    blocks = (
        RowSpan(video_id, start, min(BLOCK_ROWS, first + num_rows - start))
        for video_id, first, num_rows in stored_spans(samples)
        for start in range(first, first + num_rows, BLOCK_ROWS)
    )
    for block in fetched_ahead(stream, blocks, lambda block: [block]):
        stored = buffer[:, : block.num_rows]
        stream.read_windows([block], stored)
        values = as_float32(stored[0], stream.recipe.store_dtype)
        pooled = values.mean(axis=1) if values.ndim == 3 else values
        yield block.video_id, pooled.astype(np.float64)
