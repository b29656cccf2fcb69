"""The libraries that a provider needs: found before a session is tried, or named with the remedy.

Without them a session would come up on the CPU, or fail without saying what is missing. What a
provider needs is read from its own file, so that no table of versions can be out of date.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nd_deploy import compat
from nd_deploy.compat import elf, ort
from nd_deploy.errors import BackendError
from nd_deploy.runtime.ort.names import TENSORRT

# Those of the C and C++ runtimes are a matter of the wheel's platform tag.
_SUPPLIED = re.compile(r"lib(cu|nv)\w*\.so\.\d+")
_VERSIONED = re.compile(r"lib(\w+)\.so\.(\d+)")
_OF_TENSORRT = ("nvinfer", "nvonnxparser", "nvinfer_plugin")


def require_providers(asked: Sequence[str]) -> None:
    """Refuse providers that this build of ONNX Runtime does not have.

    Args:
        asked: ONNX Runtime's names of them.

    Raises:
        BackendError: it does not have one.
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    module = compat.onnxruntime()
    available = module.get_available_providers()
    unknown = [name for name in asked if name not in available]
    if unknown:
        raise BackendError(
            f"this ONNX Runtime ({module.__version__}) does not have {', '.join(unknown)}; "
            f"it has {', '.join(available)}",
            compat.onnxruntime_conflict()
            or "ask for one of those, or install nd-deploy[gpu] in place of nd-deploy[cpu]",
        )


def require_libraries(provider: str) -> None:
    """Load what a provider needs, NVIDIA's wheels included, or say what is missing.

    Does nothing for a provider that is part of ONNX Runtime itself.

    Args:
        provider: ONNX Runtime's name of it.

    Raises:
        BackendError: a library is missing, or of another major version.
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    needed = needed_libraries(provider)
    if not needed:
        return
    compat.preload_cuda()
    missing = [name for name in needed if not load(name)]
    if missing:
        raise BackendError(
            f"{provider} of onnxruntime {compat.onnxruntime().__version__} needs "
            f"{', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not to be found",
            remedy(missing, ort.cuda_of_build()),
        )


def needed_libraries(provider: str) -> tuple[str, ...]:
    """The libraries of NVIDIA that a provider's file names; none for one without a file.

    Args:
        provider: ONNX Runtime's name of it.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    path = ort.provider_library(provider)
    if path is None:
        return ()
    try:
        needed = elf.read_library(path).needed
    except (OSError, ValueError):
        return ()  # not Linux's: ONNX Runtime itself is left to tell
    return tuple(name for name in needed if _SUPPLIED.fullmatch(name))


def load(name: str) -> bool:
    """Load a library from where the system looks for it, or from TensorRT's wheels.

    Args:
        name: with its major version, such as "libnvinfer.so.10".

    Returns:
        Whether it is loaded now.
    """
    return any(_loads(candidate) for candidate in (name, *_in_wheels(name)))


def tensorrt_major() -> str | None:
    """The major version of TensorRT that the TensorRT provider is linked to; None without one.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    name = _tensorrt_library()
    match = _VERSIONED.fullmatch(name) if name else None
    return match[2] if match else None


def tensorrt_version() -> str:
    """The version of the TensorRT that the TensorRT provider has loaded, or "unknown"."""
    name = _tensorrt_library()
    if name is None or not load(name):
        return "unknown"
    # Found by its name now, since it is loaded.
    number = getattr(ctypes.CDLL(name), "getInferLibVersion", None)
    return "unknown" if number is None else _dotted(number())


def _tensorrt_library() -> str | None:
    needed = needed_libraries(TENSORRT)
    return next((name for name in needed if name.startswith("libnvinfer.so.")), None)


def _dotted(number: int) -> str:
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def remedy(missing: Sequence[str], cuda: str | None) -> str:
    """What installs libraries.

    Args:
        missing: their names, with major versions.
        cuda: the version of CUDA that they are to be for, if it is known.

    Returns:
        A line for each command.
    """
    known = {m[1]: m[2] for name in missing if (m := _VERSIONED.fullmatch(name))}
    lines = []
    if "cuda" in known:
        lines.append("install NVIDIA's driver, until nvidia-smi lists the GPU")
    tensorrt = next((known[part] for part in _OF_TENSORRT if part in known), None)
    if tensorrt is not None:
        major = "" if cuda is None else f"-cu{cuda.split('.')[0]}"
        lines.append(f"pip install 'tensorrt{major}>={tensorrt},<{int(tensorrt) + 1}'")
    if set(known) - {"cuda", *_OF_TENSORRT}:
        lines.append("pip install 'onnxruntime-gpu[cuda,cudnn]'")
    return "\n".join(lines) or f"install {', '.join(missing)}"


def _in_wheels(name: str) -> Iterator[str]:
    # NVIDIA's wheels of TensorRT put their libraries where no loader looks.
    spec = importlib.util.find_spec("tensorrt_libs")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / name
        if path.is_file():
            yield str(path)


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
