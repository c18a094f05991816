"""From decoded frames to network input, on tensors, on whatever device the frames lie on.

Data in -> out: full-size RGB frames, uint8 (N, H, W, 3) -> float32 (N, 3, h, w), as a
``PreprocessRecipe`` says. Decoders hand over full-size frames on purpose: the rows then do not
depend on a decoder's scaler, and the values are those of Pillow and of the image processors the
pretrained networks were trained behind.
"""

# Shapes: N frames · H, W decoded height and width · h, w network height and width · C channels

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cache_schema.errors import ConfigError
from cache_schema.recipe import PreprocessRecipe
from extract.encode.gpu.integer_resize import PartOfFrames, resize_to_levels

__all__ = [
    "geometry",
    "network_size",
    "normalized",
    "preprocess_frames",
    "preprocess_on_gpu",
    "resized_size",
]


def network_size(recipe: PreprocessRecipe) -> tuple[int, int]:
    """Return the height and width that every frame ends up with.

    Raises:
        ConfigError: if frames would keep different sizes, or the crop is larger than the frame.
    """
    if recipe.crop is None:
        if recipe.resize == "shortest_edge":
            raise ConfigError(
                f"preprocess: resize to a shortest edge of {recipe.size[0]} without a crop leaves "
                "frames of different sizes; a centre crop or an exact height and width is needed."
            )
        return recipe.size
    if recipe.crop[0] > recipe.size[0] or recipe.crop[1] > recipe.size[1]:
        raise ConfigError(
            f"preprocess: crop {recipe.crop} is larger than size {recipe.size}, and frames are "
            "never padded; the crop must fit into the resized frame."
        )
    return recipe.crop


def resized_size(recipe: PreprocessRecipe, height: int, width: int) -> tuple[int, int]:
    """Return height and width after the resize of a frame of the given size.

    The long side is rounded down, as transformers and torchvision do.

    Examples:
        >>> recipe = PreprocessRecipe(resize="shortest_edge", size=(224, 224), crop=(224, 224),
        ...     interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> resized_size(recipe, 480, 854), resized_size(recipe, 854, 480)
        ((224, 398), (398, 224))
    """
    if recipe.resize == "exact":
        return recipe.size
    short = recipe.size[0]
    if height < width:
        return short, int(short * width / height)
    return int(short * height / width), short


def preprocess_frames(frames_NHWC: Tensor, recipe: PreprocessRecipe) -> Tensor:
    """Resize, crop at the centre, scale to [0, 1] and normalize.

    Every frame is worked on alone: its values do not depend on the frames beside it.

    Pretrained networks saw frames that Pillow had rounded to uint8, so the resize is rounded:
    values then differ from Pillow's by less than 0.03 levels on average, unrounded by 0.3, which
    moves the rows of EfficientNet-Lite0 by 1-7 %. On a CPU torch resizes uint8 with integer
    arithmetic as Pillow does, 5 to 15 times faster than floats as long as the frames lie channels
    last (as decoders give them).

    Args:
        frames_NHWC: Decoded RGB frames of one size, uint8, on the encoder's device.
        recipe: What to do.

    Returns:
        Network input, float32 (N, 3, h, w), on the same device.

    Raises:
        ConfigError: if the recipe gives frames of different sizes or a crop that does not fit.
        ValueError: if the frames are no uint8 RGB frames.
    """
    if frames_NHWC.dtype != torch.uint8 or frames_NHWC.ndim != 4 or frames_NHWC.shape[3] != 3:
        raise ValueError(
            f"frames are {frames_NHWC.dtype} {tuple(frames_NHWC.shape)}, "
            "expected uint8 (N, H, W, 3)"
        )
    height, width = frames_NHWC.shape[1:3]
    if frames_NHWC.device.type != "cpu":
        return preprocess_on_gpu(
            lambda rows, columns: frames_NHWC[:, rows, columns].permute(3, 0, 1, 2),
            (height, width), recipe, frames_NHWC.device,
        )  # fmt: skip
    size, kept = geometry(recipe, height, width)
    frames_NCHW = frames_NHWC.permute(0, 3, 1, 2)
    if size != (height, width):
        frames_NCHW = functional.interpolate(
            frames_NCHW, size, mode=recipe.interpolation, antialias=True, align_corners=False
        )
    return normalized(frames_NCHW[:, :, *kept], recipe)


def preprocess_on_gpu(
    part: PartOfFrames,
    frame_size: tuple[int, int],
    recipe: PreprocessRecipe,
    device: torch.device,
) -> Tensor:
    """Do the same, bit for bit, of frames of which only the needed part is asked for."""
    size, kept = geometry(recipe, *frame_size)
    if size == frame_size:
        levels_CNHW = part(*kept)
    else:
        levels_CNHW = resize_to_levels(part, frame_size, size, kept, recipe.interpolation, device)
    return normalized(levels_CNHW.transpose(0, 1), recipe)


def geometry(
    recipe: PreprocessRecipe, height: int, width: int
) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """Return the size of resized frames, and which of their rows and columns are kept."""
    crop_size = network_size(recipe)
    size = resized_size(recipe, height, width)
    return size, _centre(size, crop_size)


def _centre(size: tuple[int, int], crop: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a crop at the centre."""
    top, left = ((whole - part) // 2 for whole, part in zip(size, crop, strict=True))
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def normalized(frames_NCHW: Tensor, recipe: PreprocessRecipe) -> Tensor:
    """Return levels of 0 to 255 as network input, float32 of the same shape."""
    # Scaling by 1/255 is folded into mean and std: one pass over the pixels less.
    mean_C11 = _levels(recipe.mean, frames_NCHW.device)
    std_C11 = _levels(recipe.std, frames_NCHW.device)
    pixels_NCHW = frames_NCHW.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return pixels_NCHW.sub_(mean_C11).div_(std_C11)


@lru_cache(maxsize=64)
def _levels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a number for each channel as (C, 1, 1).

    Cached: copying it to the GPU would synchronise.
    """
    return torch.tensor(values, device=device).view(-1, 1, 1) * 255
