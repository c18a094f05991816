"""Kernels without a GPU: a C++ compiler makes functions of them, one thread after the other."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from torch import Tensor

from extract.encode.gpu import fused_preprocess

HERE = Path(__file__).parent
SOURCE = Path(fused_preprocess.__file__).with_suffix(".cu")

SHARED_BYTES = 48 * 1024
"""In ``emulated.cpp``, too."""


class Index(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in "xyz"]


class EmulatedKernels:
    """Stands in for ``extract.encode.gpu.compiled.Kernels``; tensors lie on the CPU."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("c++")
        if compiler is None:
            pytest.skip("needs a C++ compiler, as the command c++")
        library = folder / "emulated.so"
        subprocess.run(
            [compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
             "-Wno-sign-compare", f'-DKERNELS="{SOURCE}"', HERE / "emulated.cpp", "-o", library],
            check=True,
        )  # fmt: skip
        self.library = ctypes.CDLL(library)

    def launch(self, name, grid, block, shared, *arguments):
        assert shared <= SHARED_BYTES
        types = [ctypes.c_int if isinstance(one, int) else ctypes.c_void_p for one in arguments]
        values = [one.data_ptr() if isinstance(one, Tensor) else one for one in arguments]
        address = ctypes.c_void_p.in_dll(self.library, f"launch_{name}").value
        launch = ctypes.CFUNCTYPE(ctypes.c_bool, Index, Index, ctypes.c_uint, *types)(address)
        assert launch(Index(*grid), Index(*block), shared, *values)
