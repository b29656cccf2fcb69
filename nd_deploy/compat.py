"""One home for optional imports and for what differs between the versions of a dependency."""

import contextlib
import importlib
import importlib.metadata
import sys
from types import ModuleType

from nd_deploy.errors import MissingDependencyError

_ORT_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_ORT_REPAIR = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'nd-deploy[{extra}]'"


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: the module's dotted name.
        extra: the extra of nd-deploy that installs it.

    Returns:
        The module.

    Raises:
        MissingDependencyError: it is not installed, or its installation is broken.
    """
    install = f"pip install 'nd-deploy[{extra}]'"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = error.name is not None and f"{module}.".startswith(f"{error.name}.")
        if absent:
            raise MissingDependencyError(
                f"`{module}` is not installed", f"install it: {install}"
            ) from None
        cause: Exception = error
    except Exception as error:  # a broken wheel raises anything, from OSError to AttributeError
        cause = error
    raise MissingDependencyError(
        f"`{module}` is installed but cannot be imported: {type(cause).__name__}: {cause}",
        f"repair the installation: {install.replace('install', 'install --force-reinstall')}",
    ) from cause


def torch() -> ModuleType:
    """Import PyTorch.

    Returns:
        The module `torch`.

    Raises:
        MissingDependencyError: PyTorch is absent or broken.
    """
    return require("torch", "export")


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
    versions = [version for name in _ORT_DISTRIBUTIONS if (version := _version_of(name))]
    if len(versions) < len(_ORT_DISTRIBUTIONS):
        return None
    return (
        f"onnxruntime {versions[0]} and onnxruntime-gpu {versions[1]} are installed together and "
        f"overwrite each other; install one of the two: {_ORT_REPAIR.format(extra='gpu')}"
    )


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
