"""Call the library's kernels with numpy arrays, on the CPU in emulation or on a GPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import emulated
import ml_dtypes
import numpy as np
import pytest

TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
SOURCES = (
    "channel_deconv.cu",
    "channel_deconv_dynamic.cu",
    "fast_deconv_dynamic.cu",
    "errors.cpp",
)
"""All of the library but what needs TensorRT's headers."""

TYPE_CODES = {np.dtype(dtype): code for code, dtype in enumerate(TYPES.values())}


class Memory(Protocol):
    """Where kernels read and write."""

    def upload(self, array: np.ndarray) -> Any:
        """Copy an array there, its address misaligned as far as the array's is."""
        ...

    def address(self, there: Any) -> int:
        """The address of what `upload` returned."""
        ...

    def download(self, there: Any, like: np.ndarray) -> np.ndarray:
        """Copy it back."""
        ...


class HostMemory:
    """numpy's own memory, which the emulator reads and writes."""

    def upload(self, array: np.ndarray) -> np.ndarray:
        return array

    def address(self, there: np.ndarray) -> int:
        return there.ctypes.data

    def download(self, there: np.ndarray, like: np.ndarray) -> np.ndarray:
        return there


class GpuMemory:
    """PyTorch's CUDA memory."""

    def upload(self, array: np.ndarray) -> Any:
        import torch

        skipped = array.ctypes.data % 16
        there = torch.empty(array.nbytes + skipped, dtype=torch.uint8, device="cuda")[skipped:]
        return there.copy_(torch.from_numpy(array.reshape(-1).view(np.uint8)))

    def address(self, there: Any) -> int:
        return int(there.data_ptr())

    def download(self, there: Any, like: np.ndarray) -> np.ndarray:
        return there.cpu().numpy().view(like.dtype).reshape(like.shape)


class Kernels:
    """A library together with the memory that it works on."""

    def __init__(self, library: emulated.Library, memory: Memory) -> None:
        self.library = library
        self.memory = memory

    def channel_deconv(
        self,
        x: np.ndarray,
        mean: np.ndarray,
        deconv: np.ndarray,
        leftover: Sequence[float] | None = None,
        *,
        relu: bool = False,
        misaligned: bool = False,
    ) -> np.ndarray:
        """nd_channel_deconv on x (batch, channels, positions); `leftover` is mean and scale."""
        scalars = [None, None] if leftover is None else [float32([value]) for value in leftover]
        arrays = [x, mean, deconv, *scalars, filled(x.shape, x.dtype, misaligned)]
        there = [None if a is None else self.memory.upload(a) for a in arrays]
        addresses = [None if t is None else self.memory.address(t) for t in there]
        code = self.library.functions.nd_channel_deconv(
            *addresses, TYPE_CODES[x.dtype], *x.shape, len(mean), int(relu), None
        )
        assert code == 0, self.library.functions.nd_error_text(code).decode()
        return self.memory.download(there[-1], arrays[-1])


def float32(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def filled(shape: Sequence[int], dtype: Any, misaligned: bool = False) -> np.ndarray:
    """An array full of NaN at the start of a vector of 16 bytes, or one element behind it."""
    itemsize = np.dtype(dtype).itemsize
    start = itemsize if misaligned else 0
    # The allocation ends where the array does, so that AddressSanitizer sees what overruns it.
    raw = np.full(start + int(np.prod(shape)) * itemsize, 0xFF, np.uint8)
    assert raw.ctypes.data % 16 == 0
    return raw[start:].view(dtype).reshape(shape)


def emulated_kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """The kernels, built for the emulator."""
    path = emulated.build(tmp_path_factory, *SOURCES)
    return Kernels(emulated.Library(path), HostMemory())


def gpu_kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """The kernels, built by nvcc for the GPU of this machine; skipped where there is none."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    library: Path = tmp_path_factory.mktemp("gpu") / "libkernels.so"
    options = ["-std=c++17", "-O3", "-arch=native", "-shared", "-Xcompiler", "-fPIC"]
    paths = [str(emulated.CSRC / source) for source in SOURCES]
    nvcc = nvcc_or_skip()
    built = subprocess.run(
        [nvcc, *options, "-o", str(library), *paths], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return Kernels(emulated.Library(library), GpuMemory())


def nvcc_or_skip() -> str:
    """The CUDA compiler's path."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc, the compiler of the CUDA toolkit")
    return nvcc
