"""The programs and headers that the plugin library is built with, or what installs them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from nd_deploy.errors import InputError, MissingDependencyError

HEADERS_VARIABLE = "TENSORRT_INCLUDE_DIR"

_HEADER = "NvInferRuntime.h"
_OLDEST_CMAKE = (3, 18)
# Where NVIDIA's packages put the toolkit, which they do not put on PATH.
_TOOLKIT = Path("/usr/local/cuda")
_SYSTEM_HEADERS = Path("/usr/include")
_FETCH = "nd-deploy plugin build --fetch-headers"
_REMEDIES = {
    "nvcc": "install the CUDA toolkit and put its bin folder on PATH, or set CUDACXX to its nvcc",
    "cmake": "pip install cmake",
    "ninja or make": "pip install ninja",
    "a C++ compiler": "install g++ (on Ubuntu: sudo apt-get install g++), or set CXX",
    "TensorRT's headers": f"set {HEADERS_VARIABLE} to the folder of {_HEADER}, or fetch "
    f"NVIDIA's open-source ones: {_FETCH}",
}


@dataclass(frozen=True)
class Toolchain:
    """What a build uses.

    Attributes:
        nvcc: the CUDA compiler.
        cmake: the program.
        generator: which build system CMake is to write for.
        headers: the folder of TensorRT's headers; None if they are to be fetched.
    """

    nvcc: Path
    cmake: Path
    generator: str
    headers: Path | None


def find_toolchain(headers: Path | None = None, fetch_headers: bool = False) -> Toolchain:
    """Find everything that a build needs.

    Args:
        headers: the folder of TensorRT's headers; None looks for it.
        fetch_headers: do not look for it, CMake is to fetch them.

    Returns:
        What was found.

    Raises:
        MissingDependencyError: something is missing; the message names all of it, and what
            installs each.
        InputError: the folder given holds no headers, or CMake is too old.
    """
    nvcc, cmake, generator = _nvcc(), _program("cmake"), _generator()
    folder = None if fetch_headers else _headers(headers)
    found = {
        "nvcc": nvcc,
        "cmake": cmake,
        "ninja or make": generator,
        "a C++ compiler": _program(os.environ.get("CXX", "c++")) or _program("g++"),
        "TensorRT's headers": folder or fetch_headers,
    }
    missing = [what for what, where in found.items() if not where]
    if missing or nvcc is None or cmake is None or generator is None:
        raise MissingDependencyError(
            f"what builds the plugin library is missing here: {', '.join(missing)}",
            "\n".join(f"{what}: {_REMEDIES[what]}" for what in missing),
        )
    _require_new_enough(cmake)
    return Toolchain(nvcc, cmake, generator, folder)


def _nvcc() -> Path | None:
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), str(_TOOLKIT)]
    candidates = [
        os.environ.get("CUDACXX"),
        "nvcc",
        *(str(Path(toolkit, "bin", "nvcc")) for toolkit in toolkits if toolkit),
    ]
    return next((path for name in candidates if name and (path := _program(name))), None)


def _program(name: str) -> Path | None:
    found = shutil.which(name)
    return None if found is None else Path(found)


def _generator() -> str | None:
    if shutil.which("ninja"):
        return "Ninja"
    return "Unix Makefiles" if shutil.which("make") else None


def _headers(given: Path | None) -> Path | None:
    """The folder of the headers; that of the system, where packages and JetPack put them, last."""
    variable = os.environ.get(HEADERS_VARIABLE)
    named = {"--headers": given, HEADERS_VARIABLE: Path(variable) if variable else None}
    for origin, folder in named.items():
        if folder is None:
            continue
        if not (folder / _HEADER).is_file():
            raise InputError(
                f"{origin} is {folder}, which does not hold {_HEADER}",
                "name the include folder of TensorRT 10.0 or newer",
            )
        return folder.absolute()
    places = (_SYSTEM_HEADERS / f"{platform.machine()}-linux-gnu", _SYSTEM_HEADERS)
    return next((place for place in places if (place / _HEADER).is_file()), None)


def _require_new_enough(cmake: Path) -> None:
    done = subprocess.run([cmake, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+)\.(\d+)", done.stdout)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST_CMAKE:
        said = version[0] if version else (done.stdout + done.stderr).strip()
        oldest = ".".join(map(str, _OLDEST_CMAKE))
        raise InputError(
            f"{cmake} is too old or broken: it says {said!r} and has to be {oldest} or newer",
            _REMEDIES["cmake"],
        )
