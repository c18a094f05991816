"""Planes -> RGB levels in torch: the whole numbers of ``extract.decode.planes``, for a GPU.

There every pass over the pixels costs time that encoding is then without.

Shapes: C channels, N frames, P rows of planes, H, W pixels of a frame.
"""

from functools import lru_cache

import torch
from torch import Tensor

from extract.decode.planes import YuvMatrix

__all__ = ["levels_of_planes"]


def levels_of_planes(planes_NPW: Tensor, matrix: YuvMatrix, rows: slice, columns: slice) -> Tensor:
    """Return the red, green and blue levels of a part of frames, 0 to 255.

    Args:
        planes_NPW: uint8.
        matrix: Of the frames.
        rows: Of the part; nothing of others is computed, and so with columns.
        columns: Of the part.

    Returns:
        float16 (C, N, h, w).
    """
    count, num_rows, width = planes_NPW.shape
    height = num_rows * 2 // 3
    top, left = rows.start // 2, columns.start // 2
    down, across = slice(top, -(-rows.stop // 2)), slice(left, -(-columns.stop // 2))
    # A pair of colour samples beside the two by two of luma that it belongs to.
    luma = planes_NPW[:, :height].reshape(count, height // 2, 2, width // 2, 2)
    colours = planes_NPW[:, height:].reshape(count, 2, height // 2, 1, width // 2, 1)
    y = luma[:, down, :, across]
    u, v = (colours[:, number, down, :, across] for number in (0, 1))
    offsets = _offsets(matrix, planes_NPW.device)
    grey, red_v, green_u, green_v, blue_u = (
        # Samples of a byte and an offset of four: the sum has four, in one pass.
        torch.add(offset, samples, alpha=8 * factor).bitwise_right_shift_(16)
        for samples, factor, offset in zip((y, v, u, v, u), matrix[1:], offsets, strict=True)
    )
    levels = torch.empty((3, *grey.shape), dtype=torch.float16, device=grey.device)
    for level, colour in zip(levels, (red_v, green_u + green_v, blue_u), strict=True):
        torch.add(grey, colour, out=level)
    levels_CNHW = levels.clamp_(0, 255).flatten(4, 5).flatten(2, 3)
    return levels_CNHW[
        ..., rows.start - 2 * top : rows.stop - 2 * top,
        columns.start - 2 * left : columns.stop - 2 * left,
    ]  # fmt: skip


@lru_cache(maxsize=64)
def _offsets(matrix: YuvMatrix, device: torch.device) -> tuple[Tensor, ...]:
    """Return what is added to ``8 * factor * sample``, int32.

    Cached: copying it to the GPU would synchronise.
    """
    blacks = (matrix.black, *[8 * 128] * 4)
    numbers = [-black * factor for black, factor in zip(blacks, matrix[1:], strict=True)]
    return torch.tensor(numbers, dtype=torch.int32, device=device).view(-1, 1).unbind()
