"""A network of the user's own code, named as package.module:callable."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import InputError
from nd_deploy.networks.own_code import require_defined_here, require_here

if TYPE_CHECKING:
    from torch import nn

FORM = "name it as package.module:callable, from the folder that holds the package"


def from_users_module(
    source: str, settings: Mapping[str, Any], only_here: bool = False
) -> nn.Module:
    """Import `source`, and call it unless it is a network.

    Args:
        source: `package.module:callable` or `package.module:network`.
        settings: passed on to the callable by name.
        only_here: as of `nd_deploy.networks.source.load_network`.

    Raises:
        InputError: `source` names nothing, no network, or does not take the settings; or its code
            may not be run.
    """
    torch = compat.torch()
    path, _, attribute = source.partition(":")
    _look_in_current_folder()
    if only_here:
        require_here(path)
    found: Any = _import(path)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise InputError(f"{path} has no {attribute!r}", _nearest(found, name))
        found = getattr(found, name)
    if isinstance(found, torch.nn.Module):
        if settings:
            raise InputError(
                f"{source} is a network already, and takes no --set",
                "drop --set, or name the class or the function that makes it",
            )
        return found  # type: ignore[no-any-return]
    if not callable(found):
        raise InputError(
            f"{source} is of type {type(found).__name__}, which is neither a network nor callable",
            "name a torch.nn.Module, its class, or a function that returns one",
        )
    if only_here:
        require_defined_here(source, found)
    network = _call(source, found, settings)
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"{source} returned a {type(network).__name__}, and not a torch.nn.Module",
            "name a function that returns the network itself",
        )
    return network  # type: ignore[no-any-return]


def _look_in_current_folder() -> None:
    """The command, unlike `python -m`, does not do so by itself."""
    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109


def _import(path: str) -> ModuleType:
    if path.endswith(".py") or "/" in path or "\\" in path:
        dotted = ".".join(Path(path).with_suffix("").parts)
        raise InputError(f"{path} is a file's path", f"{FORM}, such as {dotted}:build")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise _raised(f"importing {path}", error) from error
        raise InputError(
            f"there is no module {error.name!r}", f"{FORM}; install what it needs"
        ) from error
    except (Exception, SystemExit) as error:
        raise _raised(f"importing {path}", error) from error


def _call(source: str, function: Any, settings: Mapping[str, Any]) -> Any:  # noqa: ANN401
    try:
        signature = inspect.signature(function)
    except ValueError:
        signature = None
    if signature is not None:
        try:
            signature.bind(**settings)
        except TypeError as error:
            taken = ", ".join(map(str, signature.parameters.values())) or "nothing"
            raise InputError(
                f"{source} cannot be called with these settings: {error}",
                f"give what it takes with --set name=value; it takes: {taken}",
            ) from error
    try:
        return function(**settings)
    except (Exception, SystemExit) as error:
        raise _raised(source, error) from error


def _raised(what: str, error: BaseException) -> InputError:
    """What the user's own code raised, and where.

    A training script that parses the command line when it is imported raises SystemExit.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}, line {frame.lineno}"
    return InputError(
        f"{what} raised {type(error).__name__}: {error} ({place})",
        "put it right there, or change what --set passes",
    )


def _nearest(holder: object, name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, dir(holder), n=3)
    return f"did you mean {' or '.join(near)}?" if near else FORM
