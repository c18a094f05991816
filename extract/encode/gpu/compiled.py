"""CUDA C++ compiled where it runs, by NVRTC: no compiler needs to be installed.

NVRTC comes with torch's own packages for CUDA, and since torch 2.10 NVIDIA's Python bindings for it
and for the driver (``cuda-bindings``) do, too.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

__all__ = ["Kernels", "NoKernels"]

T = TypeVar("T")


class _Status(Protocol):
    """Of a call of the driver or of NVRTC; 0 if all is well."""

    value: int
    name: str


class NoKernels(RuntimeError):
    """There is no NVRTC, or it knows no such GPU, or the GPU's driver does not take the code."""


class Kernels:
    """The functions of one source, on one GPU."""

    def __init__(self, source: str, device: torch.device) -> None:
        """Compile it, in two or three tenths of a second.

        Raises:
            NoKernels: with the reason.
        """
        try:
            from cuda.bindings import driver

            program = _compiled(source, torch.cuda.get_device_capability(device))
            with torch.cuda.device(device):
                torch.cuda.current_stream().synchronize()  # the driver looks for a context
                self._module = _result(driver.cuModuleLoadData(program))
        except (ImportError, RuntimeError, OSError) as error:
            raise NoKernels(f"{type(error).__name__}: {error}") from error
        self._driver = driver
        self._device = device
        self._functions: dict[str, Any] = {}

    def launch(
        self, name: str, grid: Sequence[int], block: Sequence[int], shared: int,
        *arguments: Tensor | int | None,
    ) -> None:  # fmt: skip
        """Have a function run in the current stream.

        Args:
            name: Of the function, which is ``extern "C"``.
            grid: Blocks.
            block: Threads of each.
            shared: Bytes of shared memory of each.
            arguments: A pointer for each tensor, none for None, an int for each number.

        Raises:
            NoKernels: if the driver refuses.
        """
        values = tuple(one.data_ptr() if isinstance(one, Tensor) else one or 0 for one in arguments)
        types = tuple(
            ctypes.c_int if isinstance(one, int) else ctypes.c_void_p for one in arguments
        )
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream().cuda_stream
            (status,) = self._driver.cuLaunchKernel(
                self._function(name), *grid, *block, shared, stream, (values, types), 0
            )
        _check(status)

    def _function(self, name: str) -> object:
        if name not in self._functions:
            found = self._driver.cuModuleGetFunction(self._module, name.encode())
            self._functions[name] = _result(found)
        return self._functions[name]


def _compiled(source: str, capability: tuple[int, int]) -> bytes:
    """Return machine code for a GPU.

    Raises:
        NoKernels: with what the compiler says.
    """
    from cuda.bindings import nvrtc

    program = _result(nvrtc.nvrtcCreateProgram(source.encode(), b"", 0, [], []))
    try:
        options = [b"--gpu-architecture=sm_%d%d" % capability]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if status.value:
            log = bytes(_result(nvrtc.nvrtcGetProgramLogSize(program)))
            nvrtc.nvrtcGetProgramLog(program, log)  # it writes into these bytes
            said = log.decode(errors="replace").rstrip("\0\n")
            raise NoKernels(f"{status.name}: {said}")
        code = bytes(_result(nvrtc.nvrtcGetCUBINSize(program)))
        _check(*nvrtc.nvrtcGetCUBIN(program, code))
        return code
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _result(answer: tuple[_Status, T]) -> T:
    """Return what a call gave beside its status.

    Raises:
        NoKernels: if the status is a failure.
    """
    status, result = answer
    _check(status)
    return result


def _check(status: _Status) -> None:
    if status.value:
        raise NoKernels(status.name)
