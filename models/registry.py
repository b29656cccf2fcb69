"""Networks by name.

This file imports no torch, so that the list can be read where none is installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import InputError

from .catalogue import NETWORKS
from .info import CHOICES, ModelInfo

if TYPE_CHECKING:
    from torch import nn

_BY_NAME = {known: info for info in NETWORKS for known in (info.name, *info.aliases)}


def names() -> list[str]:
    """Returns the name of every network, without the aliases."""
    return [info.name for info in NETWORKS]


def describe(name: str) -> ModelInfo:
    """Returns what is known of a network.

    Args:
        name: one of `names()`, or an alias.

    Raises:
        InputError: there is no such network.
    """
    if name not in _BY_NAME:
        raise InputError(
            f"there is no network called {name!r}", f"use one of: {', '.join(names())}"
        )
    return _BY_NAME[name]


def build(name: str, **options: Any) -> nn.Module:  # noqa: ANN401
    """Builds a network with freshly drawn parameters, in training mode.

    Args:
        name: one of `names()`, or an alias.
        **options: any of `describe(name).options`, which also holds the defaults.

    Returns:
        A module that maps float (N, *input_shape) to logits (N, num_classes).

    Raises:
        InputError: there is no such network or option, or an option has an impossible value.
        MissingDependencyError: torch is not installed.
    """
    info = describe(name)
    for option, value in options.items():
        _check(info, option, value)
    compat.torch()
    module, function = info.builder.split(":")
    builder = getattr(importlib.import_module(f"nd_deploy.models.{module}"), function)
    network: nn.Module = builder(**{**info.options, **options})
    return network


def _check(info: ModelInfo, option: str, value: object) -> None:
    if option not in info.options:
        raise InputError(
            f"{info.name} has no option called {option!r}",
            f"use any of: {', '.join(info.options)}",
        )
    if option in CHOICES:
        if value not in CHOICES[option]:
            raise InputError(
                f"{option} of {info.name} cannot be {value!r}",
                f"use one of: {', '.join(CHOICES[option])}",
            )
        return
    kind = type(info.options[option])
    if isinstance(value, bool) or not isinstance(value, (int, kind)) or value <= 0:
        raise InputError(
            f"{option} of {info.name} cannot be {value!r}",
            f"give a positive {kind.__name__}, such as {info.options[option]}",
        )
