"""Where a model runs."""

import torch

from cache_schema.errors import ConfigError

__all__ = ["choose_device", "device_name", "gpu_uuids"]


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means here.

    Raises:
        ConfigError: if it is another word, or a GPU is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device '{name}': expected auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch sees no GPU here. Use --device cpu.")
    has_gpu = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if has_gpu else "cpu")


def device_name(device: torch.device) -> str:
    """Return ``cpu``, or a GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def gpu_uuids(device: torch.device) -> list[str]:
    """Return by which name NVML knows a device; none if it is no GPU."""
    if device.type != "cuda":
        return []
    return [f"GPU-{torch.cuda.get_device_properties(device).uuid}"]
