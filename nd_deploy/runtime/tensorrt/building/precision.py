"""Which float types a network computes in, read back from the parsed network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nd_deploy.compat.trt import TensorRT
from nd_deploy.errors import InputError

# TensorRT's names of the float types.
FLOATS = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "FP8": "float8",
    "FP4": "float4",
}
_PRODUCTS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
_IN_FUNCTION = re.compile(r"\|.*\(\w+\)")


@dataclass(frozen=True)
class LayerPrecision:
    """What one layer computes in.

    Attributes:
        layer: its name.
        kind: what it does, in TensorRT's words.
        precision: the float type of what it gives.
    """

    layer: str
    kind: str
    precision: str


def network_precisions(trt: TensorRT, network: Any) -> list[LayerPrecision]:  # noqa: ANN401
    """The precision of every layer that computes floats, in order."""
    return [
        LayerPrecision(layer.name, layer.type.name, precision)
        for layer in layers_of(network)
        if layer.type != trt.LayerType.CONSTANT and (precision := _precision(layer)) is not None
    ]


def main_precision(trt: TensorRT, network: Any) -> str:  # noqa: ANN401
    """The float types of the network's products, the most frequent first, joined by "+".

    Function bodies of ND layers do not count: they compute in float32 whatever the network does.
    Where a network has no product, its other layers are what counts.
    """
    products = [
        layer
        for layer in layers_of(network)
        if layer.type.name in _PRODUCTS and not _IN_FUNCTION.search(layer.metadata)
    ]
    found = Counter(p for layer in products if (p := _precision(layer)) is not None)
    if not found:
        found = Counter(layer.precision for layer in network_precisions(trt, network))
    return "+".join(name for name, _ in found.most_common()) or "none"


def require_precision(asked: str | None, found: str) -> None:
    """Refuse a model whose products are not of the type asked for.

    Args:
        asked: such as "float16", of which most products have to be; "float32" allows no other;
            None allows anything.
        found: from `main_precision`.

    Raises:
        InputError: they are not.
    """
    first = found.split("+")[0]
    if asked is None or asked == (found if asked == "float32" else first):
        return
    raise InputError(
        f"{asked} is asked for, but the model computes in {found}: an engine has the types of its "
        "model",
        "build from a float32 model, or leave out --precision to build this one as it is",
    )


def layers_of(network: Any) -> Sequence[Any]:  # noqa: ANN401
    """The layers of a network, in order."""
    return [network.get_layer(index) for index in range(network.num_layers)]


def _precision(layer: Any) -> str | None:  # noqa: ANN401 - an ILayer
    """The float type of the first output that has one."""
    outputs = (layer.get_output(index) for index in range(layer.num_outputs))
    names = (FLOATS.get(output.dtype.name) for output in outputs if output is not None)
    return next((name for name in names if name is not None), None)
