"""All that becomes of frames before they are encoded, on a GPU, in torch's operations.

Shapes: N frames, P rows of planes, H, W pixels of a frame, h, w of the network's input.
"""

from functools import partial

from torch import Tensor

from cache_schema.recipe import PreprocessRecipe
from extract.decode.planes import YuvMatrix
from extract.encode.gpu.planes_to_rgb import levels_of_planes
from extract.encode.preprocess import preprocess_frames, preprocess_on_gpu

__all__ = ["frame_size", "preprocess_by_operations"]


def frame_size(images: Tensor, matrix: YuvMatrix | None) -> tuple[int, int]:
    """Return height and width of RGB frames, or of planes if there is a matrix."""
    num_rows, width = images.shape[1:3]
    return num_rows if matrix is None else num_rows * 2 // 3, width


def preprocess_by_operations(
    images: Tensor, matrix: YuvMatrix | None, recipe: PreprocessRecipe
) -> Tensor:
    """Return network input, float32 (N, 3, h, w).

    Args:
        images: uint8: RGB (N, H, W, 3), or planes (N, P, W) if there is a matrix.
        matrix: Of the planes.
        recipe: What to do.
    """
    if matrix is None:
        return preprocess_frames(images, recipe)
    size = frame_size(images, matrix)
    return preprocess_on_gpu(partial(levels_of_planes, images, matrix), size, recipe, images.device)
