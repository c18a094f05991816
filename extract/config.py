"""Settings of stage 1: the [extract] table of pipeline.toml."""

from fractions import Fraction
from typing import Literal

from cache_schema.parsing import record

__all__ = ["ExtractConfig"]


@record
class ExtractConfig:
    """What to extract, and how."""

    encoders: tuple[str, ...] = ("efficientnet_lite0",)
    """Built-in names, hub ids or local folders; several share one decode."""
    fps: Fraction = Fraction(2)
    """Sampled frames per second of video time; 0 takes every frame."""
    stride_frames: int = 0
    """Sampled frames between the starts of rows; 0 = the encoder's window (1 for image models)."""
    pooling: Literal["default", "cls", "mean", "grid"] = "default"
    compute_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    store_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    batch_size: int = 8
    """Windows per forward pass; every pass is filled up to it, so rows do not depend on it."""
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
