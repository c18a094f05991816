"""From a checkpoint's preprocessor_config.json to a ``PreprocessRecipe``; pure, no torch.

transformers' own processors are not used: they work frame by frame through Pillow or need
torchvision. What this parser cannot express exactly it refuses, naming the field.
"""

import re
from collections.abc import Mapping
from typing import Any

from cache_schema.errors import ConfigError
from cache_schema.parsing import parse
from cache_schema.recipe import PreprocessRecipe

__all__ = ["parse_preprocessor_config"]

_INTERPOLATION = {2: "bilinear", 3: "bicubic"}
"""Pillow's resampling numbers, of those torch has with antialiasing."""

_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}
_NOT_OURS = {"do_convert_rgb", "do_sample_frames"}
"""Frames come as RGB, and the sampling recipe chooses them."""

_BARE_SIZE_IS_SHORTEST_EDGE = {
    "Bit": True,
    "CLIP": True,
    "ChineseCLIP": True,
    "Timesformer": True,
    "VideoMAE": True,
    "Vivit": True,
    "Beit": False,
    "DeiT": False,
    "Siglip": False,
    "ViT": False,
}
"""Old files hold ``"size": 224``; what it means is each processor class's ``default_to_square``."""


def parse_preprocessor_config(settings: Mapping[str, Any], where: str) -> PreprocessRecipe:
    """Return the recipe that a processor's settings describe.

    Args:
        settings: Parsed JSON of an image or video processor.
        where: Name of the file, for messages.

    Raises:
        ConfigError: naming the field that is missing or asks for something else.
    """
    _refuse_other_steps(settings, where)
    mean, std = _normalization(settings, where)
    resize, size = _size(settings, where)
    recipe = {
        "resize": resize,
        "size": size,
        "crop": _crop(settings, where),
        "interpolation": _interpolation(settings, where),
        "mean": mean,
        "std": std,
    }
    return parse(PreprocessRecipe, recipe, where=where)


def _refuse_other_steps(settings: Mapping[str, Any], where: str) -> None:
    for key, value in settings.items():
        if key.startswith("do_") and value and key not in _STEPS | _NOT_OURS:
            raise _unsupported(where, key, value, "a step this pipeline does not have")
    for key in ("do_resize", "do_rescale"):
        if settings.get(key) is False:
            raise _unsupported(where, key, False, "frames are always resized and scaled")
    if settings.get("crop_pct") is not None:
        raise _unsupported(where, "crop_pct", settings["crop_pct"], "expected size and crop_size")


def _size(settings: Mapping[str, Any], where: str) -> tuple[str, list[int]]:
    size = _required(settings, "size", where)
    if isinstance(size, int):
        return _bare_size(settings, size, where)
    if isinstance(size, dict):
        keys = {key for key, value in size.items() if value is not None}
        if keys == {"shortest_edge"}:
            return "shortest_edge", [size["shortest_edge"]] * 2
        if keys == {"height", "width"}:
            return "exact", [size["height"], size["width"]]
    raise _unsupported(where, "size", size, "expected shortest_edge, or height and width")


def _bare_size(settings: Mapping[str, Any], size: int, where: str) -> tuple[str, list[int]]:
    name = _processor_name(settings)
    if name not in _BARE_SIZE_IS_SHORTEST_EDGE:
        raise _unsupported(
            where, "size", size, 'write {"shortest_edge": N} or {"height": H, "width": W}'
        )
    return "shortest_edge" if _BARE_SIZE_IS_SHORTEST_EDGE[name] else "exact", [size, size]


def _processor_name(settings: Mapping[str, Any]) -> str:
    keys = ("video_processor_type", "image_processor_type", "feature_extractor_type")
    name = next((str(settings[key]) for key in keys if settings.get(key)), "")
    return re.sub(r"(FeatureExtractor|ImageProcessor|VideoProcessor)(Fast|Pil)?$", "", name)


def _crop(settings: Mapping[str, Any], where: str) -> list[int] | None:
    if not settings.get("do_center_crop"):
        return None
    crop = _required(settings, "crop_size", where)
    if isinstance(crop, int):
        return [crop, crop]
    if isinstance(crop, dict) and {"height", "width"} <= crop.keys():
        return [crop["height"], crop["width"]]
    raise _unsupported(where, "crop_size", crop, "expected height and width")


def _interpolation(settings: Mapping[str, Any], where: str) -> str:
    number = _required(settings, "resample", where)
    if number not in _INTERPOLATION:
        raise _unsupported(where, "resample", number, "expected 2 (bilinear) or 3 (bicubic)")
    return _INTERPOLATION[number]


def _normalization(settings: Mapping[str, Any], where: str) -> tuple[list[float], list[float]]:
    """Return mean and std of pixels in [0, 1], whatever scale the file counts them in.

    A processor computes (x * rescale_factor - offset - mean) / std of x in [0, 255], with offset 1
    where ViViT asks for it.
    """
    scale = 255 * float(settings.get("rescale_factor") or 1 / 255)
    offset = 1.0 if settings.get("offset") else 0.0
    mean, std = [0.0] * 3, [1.0] * 3
    if settings.get("do_normalize", True):
        mean = _per_channel(settings, "image_mean", where)
        std = _per_channel(settings, "image_std", where)
    if abs(scale - 1) < 1e-9:
        scale = 1.0  # 0.00392156862745098 is 1/255 as the files write it
    return [(m + offset) / scale for m in mean], [s / scale for s in std]


def _per_channel(settings: Mapping[str, Any], key: str, where: str) -> list[float]:
    values = _required(settings, key, where)
    numbers = values if isinstance(values, list) else [values] * 3
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        raise _unsupported(where, key, values, "expected three numbers")
    return [float(number) for number in numbers]


def _required(settings: Mapping[str, Any], key: str, where: str) -> Any:  # noqa: ANN401
    value = settings.get(key)
    if value is None:
        raise ConfigError(f"{where}: key '{key}' is missing, so the network's input is unknown.")
    return value


def _unsupported(where: str, key: str, value: object, reason: str) -> ConfigError:
    return ConfigError(
        f"{where}: {key} = {value!r} is not supported: {reason}. "
        "Correct a local copy of the model folder or choose another model."
    )
