"""Where an encoder runs and in which dtype it computes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from cache_schema.errors import ConfigError
from extract.encode.encoders.options import ComputeDtype, EncoderOptions

__all__ = [
    "choose_device",
    "choose_dtype",
    "device_name",
    "gpu_uuids",
    "inference",
    "network_dtype",
    "placed",
]

_CPU_INFO = Path("/proc/cpuinfo")


def choose_device(asked: str) -> torch.device:
    """Return the device; ``auto`` takes the first GPU if there is one.

    Raises:
        ConfigError: if the device is not there; nothing falls back to the CPU quietly.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", asked):
        raise ConfigError(f"device '{asked}': expected auto, cpu, cuda or cuda:N.")
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(asked)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{asked}': this machine or this torch build has {torch.cuda.device_count()} "
            "CUDA devices. Use --device cpu or auto."
        )
    return device


def device_name(device: torch.device) -> str:
    """Return ``cpu``, or a GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def gpu_uuids(device: torch.device, num_workers: int) -> list[str]:
    """Return by which names NVML knows the GPUs that workers of this machine use.

    Args:
        device: Where this process has its encoder; a single worker is this process.
        num_workers: Several take a GPU each, from the first on.
    """
    if device.type != "cuda":
        return []
    first = [device.index or 0]
    indices = first if num_workers == 1 else range(min(num_workers, torch.cuda.device_count()))
    return [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in indices]


def choose_dtype(options: EncoderOptions, device: torch.device) -> ComputeDtype:
    """Return the dtype a transformer computes in.

    ``auto`` asks what the hardware can do and never times anything: the dtype is part of the
    recipe, which must not depend on a busy machine. bfloat16 is chosen where it has instructions
    of its own: recent GPUs, and CPUs with AVX512-BF16 (a ViT-B/16 ran 1.9 times faster) or AMX
    (4-5 times). Convolutional networks do not ask: they stay in float32.
    """
    if options.compute_dtype != "auto":
        return options.compute_dtype
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bfloat16 = _cpu_has_bfloat16()
    return "bfloat16" if has_bfloat16 else "float32"


def network_dtype(options: EncoderOptions, dtype: ComputeDtype) -> torch.dtype:
    """Return the dtype of the network in torch: float32 for a runtime that rounds it itself."""
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen if options.runtime == "torch" else torch.float32


def placed(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Bring a network to a device, and tensors that are neither weights nor buffers with it.

    Those keep their dtype. VideoMAE's positions are such, and were brought anew for every batch,
    for which the GPU was waited for.
    """
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, torch.Tensor):
                setattr(module, name, value.to(device))
    return network.to(device, dtype)


@contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """Run networks without gradients, in the dtype that the recipe names.

    Left alone, cuDNN rounds what goes into a float32 convolution to the 10 bits of TF32.
    """
    with torch.inference_mode():
        if device.type != "cuda":
            yield
            return
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield


def _cpu_has_bfloat16() -> bool:
    """Tell whether the CPU multiplies bfloat16; false where the flags cannot be read."""
    try:
        flags = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return bool(re.search(r"\b(amx_bf16|avx512_bf16)\b", flags))
