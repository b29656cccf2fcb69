"""Optional packages: importing one, or saying what installs it."""

import importlib
import importlib.metadata
from types import ModuleType

from nd_deploy.errors import MissingDependencyError


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


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
