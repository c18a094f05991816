"""Planes as a GPU converts them, on a CPU: NumPy's way says what is right, bit for bit."""

import numpy as np
import pytest
import torch

from extract.decode.planes import YuvMatrix, rgb_of_planes
from extract.encode.gpu.planes_to_rgb import levels_of_planes

BT_601 = YuvMatrix(black=128, luma=9539, red_v=13075, green_u=-3209, green_v=-6660, blue_u=16525)
BT_709_FULL = YuvMatrix(black=0, luma=8192, red_v=12901, green_u=-1535, green_v=-3835, blue_u=15201)


def planes(count, height, width):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, height * 3 // 2, width), np.uint8)


@pytest.mark.parametrize("matrix", [BT_601, BT_709_FULL])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(0, 64), slice(0, 96)),
        (slice(0, 64), slice(8, 80)),
        (slice(3, 61), slice(7, 95)),
        (slice(63, 64), slice(0, 1)),
    ],
)
def test_a_part_has_the_levels_of_whole_frames(matrix, rows, columns):
    planes_NPW = planes(3, 64, 96)
    levels_CNHW = levels_of_planes(torch.from_numpy(planes_NPW), matrix, rows, columns)
    right_NHWC = np.stack([rgb_of_planes(one, matrix) for one in planes_NPW])[:, rows, columns]
    assert levels_CNHW.dtype == torch.float16
    assert np.array_equal(levels_CNHW.permute(1, 2, 3, 0).numpy(), right_NHWC)
