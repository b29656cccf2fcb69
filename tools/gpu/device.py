"""What there is to measure on: the GPU, and what is installed for it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu.checkout import ROOT
from gpu.parts import CannotRun, Row, Settings

if TYPE_CHECKING:
    from gpu.library import Library

TORCH = "pip install torch, as https://pytorch.org says for this machine's CUDA"
HEADERS_VARIABLE = "TENSORRT_INCLUDE_DIR"
_DISTRIBUTIONS = (
    "nd-deploy",
    "torch",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-bindings",
)
_QUERY = "name,driver_version,memory.total,compute_cap,clocks.max.sm,clocks.sm,temperature.gpu"
_SOURCES = ("plugins/**/*.*", "tools/gpu/*.py", "nd_deploy/**/*.py")


def require_cuda() -> Any:  # noqa: ANN401 - the module torch
    """PyTorch, on a machine where it has a GPU.

    Raises:
        CannotRun: it is absent, or has none.
    """
    try:
        import torch
    except ImportError as error:
        raise CannotRun(f"PyTorch cannot be imported ({error}): {TORCH}") from error
    if not torch.cuda.is_available():
        raise CannotRun(f"PyTorch {torch.__version__} finds no CUDA device: {TORCH}")
    return torch


def the_gpu(torch: Any) -> Any:  # noqa: ANN401 - a torch.device
    """Where PyTorch and the kernels compute."""
    return torch.device("cuda")


def library_file(settings: Settings) -> str:
    """The library of kernels that the suite built: the whole one, or else the launchers alone.

    Raises:
        CannotRun: there is none.
    """
    path = settings.library or settings.launchers
    if path is None:
        raise CannotRun("no library was built: see the parts 'launchers' and 'plugin'")
    return path


def require_library(settings: Settings) -> Library:
    """The library of `library_file`, loaded; raises as it does."""
    path = library_file(settings)
    from gpu.library import Library

    return Library(path)


def find_nvcc() -> str | None:
    """The CUDA compiler: as CUDACXX says, on PATH, or where toolkits are installed."""
    toolkits = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    places = [os.environ.get("CUDACXX"), "nvcc", *(f"{each}/bin/nvcc" for each in toolkits if each)]
    return next((found for place in places if place and (found := shutil.which(place))), None)


def compute_capability(torch: Any) -> str:  # noqa: ANN401 - the module
    """Of the GPU, without the dot: "90"."""
    return "".join(map(str, torch.cuda.get_device_capability()))


def facts() -> Row:
    """The machine, as far as it can be told without PyTorch too."""
    return {
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "gpu": _query_gpu(),
        "nvcc": nvcc_version(),
        "versions": {name: found for name in _DISTRIBUTIONS if (found := _version(name))},
        "sources": sources_hash(),
    }


def nvcc_version() -> str | None:
    """What nvcc says that it is, or None if there is none."""
    nvcc = find_nvcc()
    if nvcc is None:
        return None
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "release" in line]
    return lines[0].rpartition(", ")[2] if lines else None


def sources_hash(root: Path = ROOT) -> str:
    """A hash over all that is measured and that measures, so that figures are told apart by it."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in root.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _query_gpu() -> Row | None:
    """What nvidia-smi says of the first GPU, or None."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse_gpu(done.stdout) if done.returncode == 0 else None


def parse_gpu(text: str) -> Row | None:
    """The first line of nvidia-smi's answer, by what was asked."""
    line = next(iter(text.strip().splitlines()), "")
    values = [value.strip() for value in line.split(",")]
    names = _QUERY.split(",")
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
