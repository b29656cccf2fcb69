"""From SOURCE to a network: one of nd_deploy.models, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import CheckpointError, InputError
from nd_deploy.networks.users_module import FORM, from_users_module

if TYPE_CHECKING:
    from torch import nn

    from nd_deploy.models import Identified, ModelInfo
    from nd_deploy.nd.checkpoint import Checkpoint


@dataclass(frozen=True)
class Network:
    """What SOURCE stands for.

    Attributes:
        name: as SOURCE names it, or as the checkpoint tells.
        module: the network, not yet with the checkpoint's weights.
        input_shape: of one input without the batch, where known.
        settings: what it was built with, by name, as far as that is not the usual.
        notes: what was found out and from what.
    """

    name: str
    module: nn.Module
    input_shape: tuple[int, ...] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def load_network(
    source: str | None,
    settings: Mapping[str, Any],
    checkpoint: Checkpoint | None,
    only_here: bool = False,
) -> Network:
    """Build the network that `source` stands for.

    Args:
        source: a name of `nd_deploy.models`, or `package.module:callable`, or
            `package.module:network`; None for the network of `nd_deploy.models` that the
            checkpoint fits.
        settings: passed on to the callable by name.
        checkpoint: the weights that will be loaded, which tell how a network of
            `nd_deploy.models` has to be built.
        only_here: whether `source` is not the user's own word, so that a module of the user's has
            to lie in the current folder, and what is called has to be defined there.

    Raises:
        InputError: `source` names nothing, no network, or does not take the settings; or its
            code may not be run.
        CheckpointError: the checkpoint does not tell which network it is, or not all of what the
            network computes with.
    """
    if source is not None and ":" in source:
        return Network(source, from_users_module(source, settings, only_here), None, settings)
    if checkpoint is not None:
        return _from_checkpoint(source, settings, checkpoint)
    from nd_deploy import models

    assert source is not None
    info = _describe(source)
    module = models.build(source, **settings)
    return Network(source, module, tuple(info.input_shape), settings)


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
    return Network(source or found.name, module, found.input_shape, options, notes)


def _describe(name: str) -> ModelInfo:
    from nd_deploy import models

    try:
        return models.describe(name)
    except InputError as error:
        raise InputError(
            error.problem, f"{error.remedy}\nfor a network of your own, {FORM}"
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
