"""What differs between the builds and versions of ONNX Runtime."""

import contextlib
import sys
from pathlib import Path
from types import ModuleType

from nd_deploy.compat.packages import require, version_of
from nd_deploy.errors import MissingDependencyError

_ORT_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_ORT_REPAIR = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'nd-deploy[{extra}]'"

_PROVIDER_LIBRARIES = {
    "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}


def onnxruntime() -> ModuleType:
    """Import ONNX Runtime.

    Returns:
        The module `onnxruntime`.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    module = require("onnxruntime", "cpu")
    # Uninstalling one of the two wheels deletes files of the other and leaves an empty package,
    # which still imports.
    if not hasattr(module, "InferenceSession"):
        raise MissingDependencyError(
            "`onnxruntime` is installed but empty: onnxruntime and onnxruntime-gpu overwrote each "
            "other",
            f"install one of the two: {_ORT_REPAIR.format(extra='cpu')}",
        )
    return module


def preload_cuda() -> None:
    """Load the CUDA and cuDNN libraries of NVIDIA's wheels, which ONNX Runtime does not look for.

    Does nothing in a CPU build, and before onnxruntime 1.21. Libraries that are missing show when a
    session is created.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    preload = getattr(onnxruntime(), "preload_dlls", None)
    if preload is not None:
        # It prints its complaints, and stdout belongs to the user's own output.
        with contextlib.redirect_stdout(sys.stderr):
            preload()


def onnxruntime_conflict() -> str | None:
    """Tell whether onnxruntime and onnxruntime-gpu share this environment.

    pip lets them, both own the module `onnxruntime`, and then no GPU is found.

    Returns:
        The conflict and the command that ends it, or None.
    """
    versions = [version for name in _ORT_DISTRIBUTIONS if (version := version_of(name))]
    if len(versions) < len(_ORT_DISTRIBUTIONS):
        return None
    return (
        f"onnxruntime {versions[0]} and onnxruntime-gpu {versions[1]} are installed together and "
        f"overwrite each other; install one of the two: {_ORT_REPAIR.format(extra='gpu')}"
    )


def provider_library(provider: str) -> Path | None:
    """The file of an execution provider that ONNX Runtime loads when it is asked for.

    Args:
        provider: ONNX Runtime's name of it.

    Returns:
        The file; None where the provider is part of ONNX Runtime itself, or not in this build.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    name = _PROVIDER_LIBRARIES.get(provider)
    home = onnxruntime().__file__
    if name is None or home is None:
        return None
    path = Path(home).parent / "capi" / name
    return path if path.is_file() else None


def cuda_of_build() -> str | None:
    """The version of CUDA that this ONNX Runtime is built for, such as "13.0"; None for none.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    return getattr(onnxruntime(), "cuda_version", "") or None


def tells_placement() -> bool:
    """Whether a session of this ONNX Runtime tells which provider each node was given to.

    Raises:
        MissingDependencyError: ONNX Runtime is absent or broken.
    """
    return hasattr(onnxruntime().InferenceSession, "get_provider_graph_assignment_info")
