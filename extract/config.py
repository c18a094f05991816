"""Settings of stage 1: the [extract] table of pipeline.toml."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np

from cache_schema.errors import ConfigError
from cache_schema.parsing import parse, record
from cache_schema.settings import load_settings

__all__ = ["EncoderSettings", "ExtractConfig", "ExtractSettings", "settings_of_call"]


@record
class ExtractConfig:
    """What to extract, and how."""

    encoders: tuple[str, ...] = ("efficientnet_lite0",)
    """Built-in or installed names, hub ids, local folders or ``file.py:Name``; several share one
    decode."""
    fps: Fraction = Fraction(2)
    """Sampled frames per second of video time; 0 takes every frame."""
    stride_frames: int = 0
    """Sampled frames between the starts of rows; 0 = the encoder's window (1 for image models)."""
    pooling: Literal["default", "cls", "mean", "grid"] = "default"
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    runtime: Literal["torch", "openvino"] = "torch"
    """What runs the encoder: ``openvino`` is faster on a CPU, and makes another stream."""
    store_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    batch_size: int = 8
    """Windows per forward pass; every pass is filled up to it, so rows do not depend on what is
    beside them. Another size may change their last bits."""
    decoder: Literal["pyav", "decord"] = "pyav"
    workers: int = 1
    """Processes on this machine; rows do not depend on their number."""
    trust_remote_code: bool = False
    """Run model code that a hub repository ships. Off unless you trust it."""

    def __post_init__(self) -> None:
        if not self.encoders:
            raise ValueError("encoders is empty, name at least one")
        for name in ("fps", "stride_frames"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative")
        for name in ("batch_size", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")


class EncoderSettings(TypedDict, total=False):
    """Keyword arguments of ``load_encoder``: settings of ``ExtractConfig``."""

    fps: Fraction | float | str
    stride_frames: int
    pooling: Literal["default", "cls", "mean", "grid"]
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"]
    runtime: Literal["torch", "openvino"]
    store_dtype: Literal["float16", "bfloat16", "float32"]
    device: str
    batch_size: int
    trust_remote_code: bool


class ExtractSettings(EncoderSettings, total=False):
    """Keyword arguments of ``extract``: all settings of ``ExtractConfig``, under their names."""

    encoders: str | Path | Sequence[str | Path]
    decoder: Literal["pyav", "decord"]
    workers: int


def settings_of_call(given: Mapping[str, object], config: str | Path | None) -> ExtractConfig:
    """Return the settings of a call from Python.

    No file is read that the call does not name: it means the same in every folder.

    Args:
        given: ``ExtractSettings``.
        config: A pipeline.toml to start from; None takes the defaults.

    Raises:
        ConfigError: naming every unknown name and wrong value.
    """
    values = dict(given)
    if "fps" in values:
        values["fps"] = str(values["fps"])  # a float is meant as it is written: 0.1 is a tenth
    if "encoders" in values:
        values["encoders"] = _names(values["encoders"])
    values = {key: _plain(key, value) for key, value in values.items()}
    if config is not None:
        return load_settings(ExtractConfig, "extract", config_path=Path(config), flags=values)
    return parse(ExtractConfig, values, where="settings [extract]")


def _names(encoders: object) -> object:
    """Return one encoder or several as a list of names; what is neither is for ``parse``."""
    if isinstance(encoders, str | Path):
        return [str(encoders)]
    if isinstance(encoders, Iterable):
        return [str(one) if isinstance(one, Path) else one for one in encoders]
    return encoders


def _plain(key: str, value: object) -> object:
    """Return a setting as JSON knows it, numbers of NumPy as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float | list):
        return value
    raise ConfigError(f"settings [extract]: key '{key}' is {value!r}, expected text or a number.")
