"""From SOURCE on the command line to a network: one of nd_deploy.models, or the user's own."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from torch import nn

    from nd_deploy.models import Identified, ModelInfo
    from nd_deploy.nd.checkpoint import Checkpoint

_FORM = "name it as package.module:callable, from the folder that holds the package"


@dataclass(frozen=True)
class Network:
    """What SOURCE stands for.

    Attributes:
        name: as SOURCE names it, or as the checkpoint tells.
        module: the network, not yet with the checkpoint's weights.
        input_shape: of one input without the batch, where known.
        notes: what was found out and from what.
    """

    name: str
    module: nn.Module
    input_shape: tuple[int, ...] | None
    notes: tuple[str, ...] = ()


def load_network(
    source: str | None, settings: Mapping[str, Any], checkpoint: Checkpoint | None
) -> Network:
    """Build the network that `source` stands for.

    Args:
        source: a name of `nd_deploy.models`, or `package.module:callable`, or
            `package.module:network`; None for the network of `nd_deploy.models` that the
            checkpoint fits.
        settings: passed on to the callable by name.
        checkpoint: the weights that will be loaded, which tell how a network of
            `nd_deploy.models` has to be built.

    Raises:
        InputError: `source` names nothing, no network, or does not take the settings.
        CheckpointError: the checkpoint does not tell which network it is, or not all of what the
            network computes with.
    """
    if source is not None and ":" in source:
        return Network(source, _from_users_module(source, settings), None)
    if checkpoint is not None:
        return _from_checkpoint(source, settings, checkpoint)
    from nd_deploy import models

    assert source is not None
    info = _describe(source)
    return Network(source, models.build(source, **settings), tuple(info.input_shape))


def _from_checkpoint(
    source: str | None, settings: Mapping[str, Any], checkpoint: Checkpoint
) -> Network:
    from nd_deploy import models

    if source is not None:
        _describe(source)
    try:
        found = models.identify(
            checkpoint.state_dict, name=source, arch=checkpoint.arch, path=checkpoint.path
        )
        options = {**found.options, **settings}
        models.require_finite(found.name, found.options, checkpoint.state_dict)
        models.require_eps(found.name, options)
        module = models.build(found.name, **options)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error.problem}", error.remedy) from error
    notes = _notes(found, settings, named=source is not None)
    return Network(source or found.name, module, found.input_shape, notes)


def _describe(name: str) -> ModelInfo:
    from nd_deploy import models

    try:
        return models.describe(name)
    except InputError as error:
        raise InputError(
            error.problem, f"{error.remedy}\nfor a network of your own, {_FORM}"
        ) from error


def _notes(found: Identified, settings: Mapping[str, Any], *, named: bool) -> tuple[str, ...]:
    """What was found out, but for what the user says otherwise with --set."""
    told = {option: v for option, v in found.options.items() if option not in settings}
    by_folder = {option: told.pop(option) for option in found.from_folder if option in told}
    notes = [] if named else [f"the tensors are those of {found.name} with {_listed(told)}"]
    if by_folder:
        notes.append(f"the folder's name tells {_listed(by_folder)}")
    return (*notes, *found.notes)


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{option}={value}" for option, value in options.items())


def _from_users_module(source: str, settings: Mapping[str, Any]) -> nn.Module:
    torch = compat.torch()
    path, _, attribute = source.partition(":")
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
    network = _call(source, found, settings)
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"{source} returned a {type(network).__name__}, and not a torch.nn.Module",
            "name a function that returns the network itself",
        )
    return network  # type: ignore[no-any-return]


def _import(path: str) -> ModuleType:
    if path.endswith(".py") or "/" in path or "\\" in path:
        dotted = ".".join(Path(path).with_suffix("").parts)
        raise InputError(f"{path} is a file's path", f"{_FORM}, such as {dotted}:build")
    # The command, unlike `python -m`, does not look in the current folder by itself.
    if os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise _raised(f"importing {path}", error) from error
        raise InputError(
            f"there is no module {error.name!r}", f"{_FORM}; install what it needs"
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
    return f"did you mean {' or '.join(near)}?" if near else _FORM
