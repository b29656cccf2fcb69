"""TensorRT plugins for what cannot fold: their sources, their build, and their Python twins."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd_deploy.plugins.build import build_library
    from nd_deploy.plugins.check import check_library
    from nd_deploy.plugins.library import find_library

__all__ = ["build_library", "check_library", "find_library"]

_HOMES = {"build_library": "build", "check_library": "check", "find_library": "library"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    if name not in _HOMES:
        raise AttributeError(f"module 'nd_deploy.plugins' has no attribute {name!r}")
    return getattr(importlib.import_module(f"nd_deploy.plugins.{_HOMES[name]}"), name)
