"""Builds the kernels with nvcc alone, as a library of the plain C functions of launchers.h.

Neither CMake nor anything of TensorRT's is needed, and what is checked and timed is the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu.checkout import ROOT
from gpu.device import compute_capability, find_nvcc, require_cuda
from gpu.parts import CannotRun, PartFailed, Row, Settings

SOURCES = ROOT / "plugins/csrc"
LAUNCHERS = "launchers"
# What plugins/CMakeLists.txt compiles a release with.
_FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-Xcompiler=-fPIC,-fvisibility=hidden")
_NAME = "libnd_launchers.so"
_SHOWN_LINES = 12


def run(settings: Settings) -> list[Row]:
    """One row: the library."""
    torch = require_cuda()
    nvcc = find_nvcc()
    if nvcc is None:
        raise CannotRun(
            "nvcc is not here: install the CUDA toolkit, and put its bin folder on PATH or set "
            "CUDACXX to its nvcc"
        )
    capability = compute_capability(torch)
    path = build(nvcc, capability, Path(settings.folder) / LAUNCHERS)
    return [{"what": LAUNCHERS, "path": str(path), "built for": f"compute capability {capability}"}]


def build(nvcc: str, capability: str, folder: Path) -> Path:
    """Compile and link; nothing is replaced before that has worked.

    Args:
        nvcc: the program.
        capability: of the GPU, such as "90".
        folder: where the library goes.

    Raises:
        PartFailed: a source does not compile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = [*sorted(SOURCES.glob("*.cu")), SOURCES / "errors.cpp"]
    objects = [folder / f"{source.stem}.o" for source in sources]
    common = [nvcc, *_FLAGS, f"-arch=sm_{capability}"]

    def compile_one(source: Path, target: Path) -> None:
        print(f"{source.name}", file=sys.stderr)
        _run([*common, f"-I{SOURCES}", "-c", str(source), "-o", str(target)])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Errors come out where the results are taken.
        list(pool.map(compile_one, sources, objects))
    unfinished = folder / f".{_NAME}"
    _run([*common, "-shared", *map(str, objects), "-o", str(unfinished)])
    unfinished.replace(folder / _NAME)
    return folder / _NAME


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        sys.stderr.write("\n".join(lines) + "\n")
        shown = next((i for i, line in enumerate(lines) if "error" in line), 0)
        text = " / ".join(lines[shown:][:_SHOWN_LINES])
        raise PartFailed(f"nvcc ended with exit code {done.returncode}: {text}")
