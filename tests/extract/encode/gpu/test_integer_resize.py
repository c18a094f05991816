"""The resize for GPUs, on a CPU: torch's own integer kernel says what is right, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut
from torch.nn import functional

from extract.encode.gpu.integer_resize import LOW_BITS, integer_weights, resize_to_levels

MODES = ["bilinear", "bicubic"]
sides = st.integers(1, 300)


def frames(height, width, count=2):
    rng = np.random.default_rng(height * width)
    rgb = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    rgb[0] = np.where(rgb[0] > 127, 255, 0)  # where a cubic overshoots most
    return torch.from_numpy(rgb).permute(0, 3, 1, 2)


def all_of(size):
    return slice(0, size[0]), slice(0, size[1])


def resized(frames_NCHW, size, kept, mode):
    """Return levels (N, C, h, w), and look that no more is asked of frames than there is."""
    height, width = frames_NCHW.shape[2:]

    def part(rows, columns):
        assert 0 <= rows.start < rows.stop <= height
        assert 0 <= columns.start < columns.stop <= width
        return frames_NCHW[:, :, rows, columns].transpose(0, 1)

    levels = resize_to_levels(part, (height, width), size, kept, mode, frames_NCHW.device)
    assert levels.dtype == torch.float16
    return levels.transpose(0, 1)


@pytest.mark.parametrize("mode", MODES)
@given(height=sides, width=sides, size=st.tuples(sides, sides))
def test_levels_are_those_of_a_cpu(mode, height, width, size):
    frames_NCHW = frames(height, width)
    right = functional.interpolate(
        frames_NCHW, size, mode=mode, antialias=True, align_corners=False
    )
    levels = resized(frames_NCHW, size, all_of(size), mode)
    assert torch.equal(levels.to(torch.uint8), right)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(720, 1280), (1920, 1080), (2160, 3840)])
def test_levels_of_videos_sizes_are_those_of_a_cpu(mode, height, width):
    frames_NCHW = frames(height, width, count=1)
    size = (224, 224 * width // height) if height < width else (224 * height // width, 224)
    kept = tuple(slice(side // 2 - 112, side // 2 + 112) for side in size)
    whole = functional.interpolate(
        frames_NCHW, size, mode=mode, antialias=True, align_corners=False
    )
    levels = resized(frames_NCHW, size, kept, mode)
    assert torch.equal(levels.to(torch.uint8), whole[:, :, *kept])


@pytest.mark.parametrize("mode", MODES)
def test_levels_are_near_pillow_s(mode):
    photograph = astronaut()[:300, :500].copy()
    frame_NCHW = torch.from_numpy(photograph).permute(2, 0, 1)[None]
    levels = resized(frame_NCHW, (90, 160), all_of((90, 160)), mode)[0].float()
    number = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[mode]
    picture = Image.fromarray(photograph).resize((160, 90), number)
    difference = (levels - torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()).abs()
    assert difference.max() <= 1
    assert difference.mean() < 0.05


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_in", [1, 5, 224, 1280, 3840, 30_000])
def test_sums_are_whole_numbers_that_float32_holds(mode, num_in):
    """What makes a product on tensor cores exact, in whatever order it is added up."""
    weights_lL, _ = integer_weights(num_in, 224, mode)
    upper_lL, lower_lL = weights_lL >> LOW_BITS, weights_lL & (1 << LOW_BITS) - 1
    assert np.abs(upper_lL).max() <= 256
    for half_lL in (upper_lL, lower_lL):
        assert torch.equal(
            torch.from_numpy(half_lL).to(torch.float16).int(), torch.from_numpy(half_lL)
        )
        assert (np.abs(half_lL).sum(axis=1) * 255).max() < 2**24
