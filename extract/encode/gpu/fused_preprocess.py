"""All that becomes of frames before they are encoded, on a GPU, in two kernels of our own.

In torch's operations it takes a pass over the pixels each, 33 in all, and of the time that a GPU
encodes CLIP ViT-L/14 a ninth. The kernels are in ``fused_preprocess.cu``; they give the same bits,
which is looked at before the first use. Where there are none torch's operations go on.

Shapes: N frames, P rows of planes, H, W pixels of a frame, h, w of the network's input, C channels,
K weights of a resized pixel, M lines that matter.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cache_schema.recipe import Interpolation, PreprocessRecipe
from extract.decode.planes import YuvMatrix
from extract.encode.gpu.compiled import Kernels, NoKernels
from extract.encode.gpu.integer_resize import integer_weights
from extract.encode.gpu.operations import frame_size, preprocess_by_operations
from extract.encode.preprocess import geometry, normalized

__all__ = ["Axis", "Tile", "axis_of", "fused_preprocess", "kernels_of", "tile_of"]

logger = logging.getLogger(__name__)

BT_709 = YuvMatrix(128, 9539, 14686, -1747, -4366, 17305)
"""Of most videos; what kernels are tried with."""

TRIED = PreprocessRecipe(
    resize="shortest_edge",
    size=(80, 80),
    crop=(72, 72),  # wider than a block
    interpolation="bicubic",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""What they are tried with, too."""

COLUMNS, ROWS = 64, 4
"""Of a block: threads beside each other, and one below the other."""

SHARED_BYTES = 48 << 10
"""What every GPU gives a block."""

PIXEL_BYTES = 4
"""Of a pixel there."""

MOST_LINES = 8
"""Of a block: more would leave too few blocks at once."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What each resized pixel of a line is summed of."""

    starts: NDArray[np.int32]
    """Where the first of a pixel's weights belongs to."""
    weights: NDArray[np.int16]
    """(K, pixels)"""
    precision: int
    """Bits behind the binary point of a weight."""


def axis_of(num_in: int, num_out: int, kept: slice, mode: Interpolation) -> Axis:
    """Return the weights of a resize, of some of its pixels."""
    dense, precision = integer_weights(num_in, num_out, mode)
    dense = dense[kept]
    is_used = dense != 0
    # Where a weight is 0 a pixel may begin later than the next; blocks rely on the order.
    first = np.minimum.accumulate(is_used.argmax(axis=1)[::-1])[::-1]
    end = num_in - is_used[:, ::-1].argmax(axis=1)
    num_weights = int((end - first).max())
    starts = np.minimum(first, num_in - num_weights)
    weights = np.take_along_axis(dense, starts[:, None] + np.arange(num_weights), axis=1)
    return Axis(starts.astype(np.int32), weights.T.astype(np.int16, order="C"), precision)


@dataclass(frozen=True, slots=True)
class Tile:
    """What a block has in shared memory: lines of the pixels that its columns are summed of."""

    lines: int
    shared_bytes: int


def tile_of(across: Axis) -> Tile | None:
    """Return what a block holds; None if that is less than a line."""
    starts = across.starts
    last = np.minimum(np.arange(0, len(starts), COLUMNS) + COLUMNS, len(starts)) - 1
    widest = int((starts[last] - starts[::COLUMNS]).max()) + len(across.weights)
    lines = min(MOST_LINES, SHARED_BYTES // (PIXEL_BYTES * widest))
    return Tile(lines, lines * widest * PIXEL_BYTES) if lines else None


@dataclass(frozen=True, slots=True)
class _OnGpu:
    """An axis where kernels read it."""

    starts: Tensor
    weights_K: Tensor
    precision: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Weights of a pixel, bits behind their point, and pixels."""
        return (*self.weights_K.shape[:1], self.precision, len(self.starts))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What does not change from frame to frame."""

    first_row: int
    num_rows: int
    tile: Tile
    across: _OnGpu
    along: _OnGpu
    values_CL: Tensor


def fused_preprocess(images: Tensor, matrix: YuvMatrix | None, recipe: PreprocessRecipe) -> Tensor:
    """Return network input, float32 (N, 3, h, w), of frames on a GPU.

    Args:
        images: uint8, contiguous: RGB (N, H, W, 3), or planes (N, P, W) if there is a matrix.
        matrix: Of the planes.
        recipe: What to do.
    """
    kernels = kernels_of(images.device)
    if kernels is not None:
        plan = _plan(frame_size(images, matrix), recipe, images.device)
        if plan is not None:
            return _run(kernels, plan, images, matrix)
    return preprocess_by_operations(images, matrix, recipe)


def _run(kernels: Kernels, plan: _Plan, images: Tensor, matrix: YuvMatrix | None) -> Tensor:
    count, (height, width) = len(images), frame_size(images, matrix)
    num_columns, new_height = len(plan.across.starts), len(plan.along.starts)
    lines_NCMw = images.new_empty((count, 3, plan.num_rows, num_columns))
    column_blocks = -(-num_columns // COLUMNS)
    kernels.launch(
        "resize_lines",
        (count, -(-plan.num_rows // plan.tile.lines), column_blocks),
        (COLUMNS, ROWS, 1),
        plan.tile.shared_bytes,
        images, height, width, None if matrix is None else _matrix(matrix, images.device),
        plan.first_row, plan.num_rows, plan.across.starts, plan.across.weights_K,
        *plan.across.sizes, plan.tile.lines, lines_NCMw,
    )  # fmt: skip
    pixels_NChw = images.new_empty((count, 3, new_height, num_columns), dtype=torch.float32)
    kernels.launch(
        "resize_columns",
        (count * 3, -(-new_height // ROWS), column_blocks),
        (COLUMNS, ROWS, 1),
        0,
        lines_NCMw, plan.num_rows, num_columns, plan.along.starts, plan.along.weights_K,
        *plan.along.sizes, plan.values_CL, pixels_NChw,
    )  # fmt: skip
    return pixels_NChw


@lru_cache(maxsize=64)
def _plan(
    size_before: tuple[int, int], recipe: PreprocessRecipe, device: torch.device
) -> _Plan | None:
    """Return the plan for frames of a size; None if lines are too wide for a block.

    Cached: copying it to the GPU would synchronise.
    """
    size, kept = geometry(recipe, *size_before)
    along, across = (
        axis_of(before, after, part, recipe.interpolation)
        for before, after, part in zip(size_before, size, kept, strict=True)
    )
    tile = tile_of(across)
    if tile is None:
        return None
    first_row = int(along.starts[0])
    num_rows = int(along.starts[-1]) + len(along.weights) - first_row
    levels_1CL = torch.arange(256, dtype=torch.uint8, device=device).expand(1, 3, 1, 256)
    return _Plan(
        first_row, num_rows, tile, _on_gpu(across, 0, device),
        _on_gpu(along, first_row, device), normalized(levels_1CL, recipe),
    )  # fmt: skip


def _on_gpu(axis: Axis, origin: int, device: torch.device) -> _OnGpu:
    starts = torch.from_numpy(axis.starts - np.int32(origin)).to(device)
    return _OnGpu(starts, torch.from_numpy(axis.weights).to(device), axis.precision)


@lru_cache(maxsize=64)
def _matrix(matrix: YuvMatrix, device: torch.device) -> Tensor:
    return torch.tensor(matrix, dtype=torch.int32, device=device)


@lru_cache
def kernels_of(device: torch.device) -> Kernels | None:
    """Return the kernels if they compile for a GPU and give the bits of torch's operations.

    Args:
        device: With its number.
    """
    source = files(__package__).joinpath("fused_preprocess.cu").read_text(encoding="utf-8")
    try:
        kernels = Kernels(source, device)
        if _have_the_bits_of_torch(kernels, device):
            return kernels
        why: object = "they do not give the bits of torch's operations"
    except NoKernels as error:
        why = error
    logger.warning(
        "%s prepares frames by torch's operations, which are slower than own kernels. Those need a "
        "GPU of NVIDIA's and the package cuda-bindings, which torch brings since 2.10: %s",
        device, why,
    )  # fmt: skip
    return None


def _have_the_bits_of_torch(kernels: Kernels, device: torch.device) -> bool:
    """Work on frames of noise in both ways."""
    samples = np.random.default_rng(0).integers(0, 256, (2, 135, 160), np.uint8)
    noise = torch.from_numpy(samples).to(device)
    for images, matrix in ((noise, BT_709), (noise.view(2, 45, 160, 3), None)):
        plan = _plan(frame_size(images, matrix), TRIED, device)
        right = preprocess_by_operations(images, matrix, TRIED)
        if plan is None or not torch.equal(_run(kernels, plan, images, matrix), right):
            return False
    return True
