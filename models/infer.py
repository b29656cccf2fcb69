"""With which options a network was built, told from the shapes in its state dict."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import CheckpointError

from .info import CHOICES
from .registry import build, describe

if TYPE_CHECKING:
    from torch import Tensor, nn

# No layer of any network has this many channels, so it marks what depends on the classes.
_MARK = 7919


def options_from_state_dict(name: str, state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Finds options with which `build` makes the network that a state dict was saved from.

    What leaves no trace in a state dict keeps its default: eps, n_iter, sampling_stride. Where
    several block sizes make the same network, the default is taken, else the smallest.

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
    shapes = {key: tuple(value.shape) for key, value in state_dict.items()}
    options = _structure(info.name, shapes)
    _check_shapes(info.name, shapes, _shapes(_skeleton(info.name, **options)), len)
    units = {option: 1 for option in ("block", "block_fc") if option in info.options}
    skeleton = _skeleton(info.name, **options, **units, num_classes=_MARK)
    marked = (key for key, value in skeleton.state_dict().items() if _MARK in value.shape)
    options["num_classes"] = shapes[next(marked)][0]
    for option in units:
        layers = list(_layers_with(option, skeleton, shapes))
        if layers:
            options[option] = _block(info.name, option, info.options[option], layers)
    _check_shapes(info.name, shapes, _shapes(_skeleton(info.name, **options)))
    return options


def _skeleton(name: str, **options: Any) -> nn.Module:  # noqa: ANN401
    """Builds a network that has shapes but neither memory nor values."""
    with compat.torch().device("meta"):
        return build(name, **options)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def _structure(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Finds the options that decide which keys there are."""
    words = [option for option in CHOICES if option in describe(name).options]
    candidates = [
        dict(zip(words, values, strict=True))
        for values in itertools.product(*(CHOICES[option] for option in words))
    ]
    keys = [set(_shapes(_skeleton(name, **candidate))) for candidate in candidates]
    differences = [len(expected ^ shapes.keys()) for expected in keys]
    best = differences.index(min(differences))
    if differences[best]:
        missing, unexpected = keys[best] - shapes.keys(), shapes.keys() - keys[best]
        raise CheckpointError(
            f"the state dict is not one of {name}: {_some(missing)} missing, "
            f"{_some(unexpected)} unexpected",
            "name the network that was trained, and strip a prefix such as 'module.'",
        )
    return candidates[best]


def _layers_with(
    option: str, skeleton: nn.Module, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[int, int]]:
    """Yields channels and block of the layers that take their block from an option.

    In a skeleton with an option of 1 they are those with a block of 1; the channels of a layer
    that takes the option as it is (ChannelDeconv) count as 0.
    """
    from nd_deploy.nd.layers import ChannelDeconv, Delinear, FastDeconv

    for key, layer in skeleton.named_modules():
        if getattr(layer, "block", None) != 1:
            continue
        features = shapes[f"{key}.running_deconv"][-1]
        if option == "block" and isinstance(layer, FastDeconv) and layer.groups == 1:
            yield layer.in_channels, features // math.prod(layer.kernel_size)
        elif option == "block_fc" and isinstance(layer, Delinear):
            yield layer.in_features, features
        elif option == "block_fc" and isinstance(layer, ChannelDeconv):
            yield 0, features


def _block(name: str, option: str, default: int, layers: list[tuple[int, int]]) -> int:
    """Finds the value of an option that gives every layer its block."""
    from nd_deploy.nd.statistics import block_size

    def explains(value: int) -> bool:
        return all(
            block == (block_size(value, channels) if channels else value)
            for channels, block in layers
        )

    largest = max(max(layer) for layer in layers)
    for value in (default, *range(1, largest + 1)):
        if explains(value):
            return value
    raise CheckpointError(
        f"no {option} explains the whitening matrices in the state dict of {name}",
        "build the network in your own code, as it was trained, and load the state dict there",
    )


def _check_shapes(
    name: str,
    shapes: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    measure: Callable[[tuple[int, ...]], object] = tuple,
) -> None:
    for key, shape in expected.items():
        if measure(shapes[key]) != measure(shape):
            raise CheckpointError(
                f"the state dict is not one of {name}: {key} has the shape {shapes[key]} "
                f"instead of {shape}",
                "name the network that was trained",
            )


def _some(keys: set[str]) -> str:
    shown = sorted(keys)[:3]
    rest = f" and {len(keys) - len(shown)} more" if len(keys) > len(shown) else ""
    return ", ".join(shown) + rest if shown else "nothing"
