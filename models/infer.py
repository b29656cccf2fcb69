"""With which options a network was built, told from the shapes in its state dict."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import CheckpointError

from .info import CHOICES
from .registry import describe
from .skeleton import skeleton

if TYPE_CHECKING:
    from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]
"""What there is to tell a network from: the shape of every tensor by its key."""

# No layer of any network has this many channels, so it marks what depends on the classes.
_MARK = 7919


class MisfitError(Exception):
    """A state dict was not saved from a network, whatever the network's options.

    Args:
        difference: how it differs from what the network saves.
        remedy: what to do about it.
    """

    def __init__(self, difference: str, remedy: str) -> None:
        self.difference = difference
        self.remedy = remedy
        super().__init__(difference)


def options_from_state_dict(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Finds options with which `build` makes the network that a state dict was saved from.

    What leaves no trace in a state dict keeps its default: eps, n_iter, sampling_stride. Where
    several values of an option make the same network, the default is taken, else the smallest.

    Args:
        name: a name or an alias of the network.
        state_dict: tensors, or anything with a shape, by official key without a prefix.

    Returns:
        The options; `build(name, **options).load_state_dict(state_dict, strict=True)` succeeds.

    Raises:
        InputError: there is no such network.
        CheckpointError: it does not fit the network, whatever the options.
        MissingDependencyError: torch is not installed.
    """
    info = describe(name)
    try:
        return fit(info.name, shapes_of(state_dict))
    except MisfitError as misfit:
        raise CheckpointError(
            f"the state dict is not one of {info.name}: {misfit.difference}", misfit.remedy
        ) from None


def shapes_of(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor by its key."""
    return {key: tuple(value.shape) for key, value in state_dict.items()}


def fit(name: str, shapes: Shapes) -> dict[str, Any]:
    """Finds options as `options_from_state_dict` does.

    Args:
        name: of the network, no alias.
        shapes: of the tensors in the state dict.

    Raises:
        MisfitError: it does not fit the network, whatever the options.
        MissingDependencyError: torch is not installed.
    """
    info = describe(name)
    options, expected = _structure(name, shapes)
    _check_shapes(shapes, expected, len)
    units = {option: 1 for option in ("block", "block_fc") if option in info.options}
    marked = skeleton(name, **options, **units, num_classes=_MARK)
    options["num_classes"] = _classes(marked, shapes)
    for option in units:
        layers = list(_layers_with(option, marked, shapes))
        if layers:
            options[option] = _block(option, info.options[option], layers)
    _check_shapes(shapes, shapes_of(skeleton(name, **options).state_dict()))
    return options


def _structure(name: str, shapes: Shapes) -> tuple[dict[str, Any], Shapes]:
    """Finds the options that decide which keys there are, and the shapes with other defaults."""
    nearest: set[str] = set()
    for candidate in _structures(name):
        expected = shapes_of(skeleton(name, **candidate).state_dict())
        if expected.keys() == shapes.keys():
            return candidate, expected
        if not nearest or len(expected.keys() ^ shapes.keys()) < len(nearest ^ shapes.keys()):
            nearest = set(expected)
    raise MisfitError(
        f"{_some(nearest - shapes.keys())} missing, {_some(shapes.keys() - nearest)} unexpected",
        "name the network that was trained, and strip a prefix such as 'module.'",
    )


def _structures(name: str) -> Iterator[dict[str, Any]]:
    """Yields every choice of the options that are words, the defaults first."""
    defaults = describe(name).options
    words = [option for option in CHOICES if option in defaults]
    choices = (
        (defaults[word], *(other for other in CHOICES[word] if other != defaults[word]))
        for word in words
    )
    for values in itertools.product(*choices):
        yield dict(zip(words, values, strict=True))


def _classes(marked: nn.Module, shapes: Shapes) -> int:
    key = next(key for key, value in marked.state_dict().items() if _MARK in value.shape)
    if shapes[key][0] < 1:
        raise MisfitError(f"{key} has the shape {shapes[key]}", "give a trained network")
    return shapes[key][0]


def _layers_with(option: str, marked: nn.Module, shapes: Shapes) -> Iterator[tuple[int, int]]:
    """Yields channels and block of the layers that take their block from an option.

    In a skeleton with an option of 1 they are those with a block of 1; the channels of a layer
    that takes the option as it is (ChannelDeconv) count as 0.
    """
    from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

    for key, layer in marked.named_modules():
        if getattr(layer, "block", None) != 1:
            continue
        features = shapes[f"{key}.running_deconv"][-1]
        if option == "block" and isinstance(layer, FastDeconv) and layer.groups == 1:
            yield layer.in_channels, features // math.prod(layer.kernel_size)
        elif option == "block_fc" and isinstance(layer, Delinear):
            yield layer.in_features, features
        elif option == "block_fc" and isinstance(layer, ChannelDeconv):
            yield 0, features


def _block(option: str, default: int, layers: list[tuple[int, int]]) -> int:
    """Finds the value of an option that gives every layer its block."""
    from nd_deploy.nd.statistics import block_size

    def explains(value: int) -> bool:
        return all(
            block == (block_size(value, channels) if channels else value)
            for channels, block in layers
        )

    largest = max(max(layer) for layer in layers)
    for value in itertools.chain((default,), range(1, largest + 1)):
        if explains(value):
            return value
    raise MisfitError(
        f"no {option} explains its whitening matrices",
        "build the network in your own code, as it was trained, and load the state dict there",
    )


def _check_shapes(
    shapes: Shapes, expected: Shapes, measure: Callable[[tuple[int, ...]], object] = tuple
) -> None:
    for key, shape in expected.items():
        if measure(shapes[key]) != measure(shape):
            raise MisfitError(
                f"{key} has the shape {shapes[key]} instead of {shape}",
                "name the network that was trained",
            )


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:3]
    rest = f" and {len(keys) - len(shown)} more" if len(keys) > len(shown) else ""
    return ", ".join(shown) + rest if shown else "nothing"
