"""Which networks there are. A new one is a file with its builder and an entry in `_NETWORKS`.

This file imports no torch, so that the list can be read where none is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.errors import InputError

if TYPE_CHECKING:
    from torch import nn

CHOICES = {
    "norm": ("nd", "bn"),
    "head": ("linear", "delinear", "channel_deconv"),
}
"""The values of the options that are words; every other option is a positive number."""


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a network without building it.

    Attributes:
        name: what `build` takes.
        builder: `module:function` below `nd_deploy.models`; called with every option by name.
        input_shape: channels, height and width of one input.
        options: what `build` takes besides the name, with defaults. Among them are
            `num_classes`; `norm`, "nd" or "bn" for the batch-normalised twin; `head`, the
            classifier: "linear", "delinear" or "channel_deconv" (a `ChannelDeconv` before a plain
            linear layer); `block` and `block_fc`, the block sizes of the convolutions and of the
            head; `eps`, `n_iter` and `sampling_stride` of the ND layers.
        dataset: what it is trained on.
        note: where it comes from.
        aliases: further names, such as those of the authors' `--arch`.
    """

    name: str
    builder: str
    input_shape: tuple[int, int, int]
    options: Mapping[str, Any] = field(hash=False)
    dataset: str
    note: str
    aliases: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many logits it has unless told otherwise."""
        return int(self.options["num_classes"])


# The defaults of the authors' main.py, but for block_fc: there 0 stands for a plain linear head,
# and 512 is what their README trains with.
_CIFAR = {
    "num_classes": 10,
    "norm": "nd",
    "head": "linear",
    "block": 64,
    "block_fc": 512,
    "eps": 1e-5,
    "n_iter": 5,
    "sampling_stride": 3,
}


def _cifar(name: str, builder: str, note: str, *aliases: str) -> ModelInfo:
    return ModelInfo(name, builder, (3, 32, 32), _CIFAR, "CIFAR-10, CIFAR-100", note, aliases)


_NETWORKS = (
    ModelInfo(
        "digits",
        "digits:digits",
        (1, 8, 8),
        {
            "num_classes": 10,
            "norm": "nd",
            "block": 16,
            "block_fc": 32,
            "eps": 1e-5,
            "n_iter": 5,
            "sampling_stride": 1,
        },
        "scikit-learn's handwritten digits",
        "made for the demo: one of every ND layer, and every kind of FastDeconv",
    ),
    ModelInfo(
        "mlp",
        "mlp:mlp",
        (1, 28, 28),
        {"num_classes": 10, "norm": "nd", "block_fc": 32, "eps": 1e-2},
        "MNIST, Fashion-MNIST",
        "the paper's multilayer perceptron, 784-128-128-10",
    ),
    _cifar("vgg11", "vgg:vgg11", "VGG-11"),
    _cifar("vgg13", "vgg:vgg13", "VGG-13"),
    _cifar("vgg16", "vgg:vgg16", "VGG-16; in table 1 of the paper"),
    _cifar("vgg19", "vgg:vgg19", "VGG-19"),
    _cifar("resnet18", "resnet:resnet18", "ResNet-18; in table 1 of the paper", "resnet"),
    _cifar("resnet34", "resnet:resnet34", "ResNet-34"),
    _cifar("resnet50", "resnet:resnet50", "ResNet-50"),
    _cifar(
        "mobilenet_v2",
        "mobilenet_v2:mobilenet_v2",
        "MobileNet v2; in table 1 of the paper",
        "mobilev2",
    ),
)

_BY_NAME = {known: info for info in _NETWORKS for known in (info.name, *info.aliases)}


def names() -> list[str]:
    """Returns the name of every network, without the aliases."""
    return [info.name for info in _NETWORKS]


def describe(name: str) -> ModelInfo:
    """Returns what is known of a network.

    Args:
        name: one of `names()`, or an alias.

    Raises:
        InputError: there is no such network.
    """
    if name not in _BY_NAME:
        raise InputError(
            f"there is no network called {name!r}", f"use one of: {', '.join(sorted(_BY_NAME))}"
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
