"""Small models of every kind of ND layer, to be run by every runtime."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from nd_deploy.nd import dialect
from nd_deploy.passes.pipeline import CONV, PLUGIN, run_passes
from nd_deploy.precision import cast
from nd_deploy.targets import find_target, fit

_HEADER = '<ir_version: 10, opset_import: ["": 18, "nd_deploy": 1]>\n'
_GEOMETRY = "kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], group=1"
_X = "(float[N, 8, 14, 13] x) => (float[N, {outputs}, 14, 13] y)"
_MAP = "float[4] mu, float[4, 4] D"
_LEFTOVER = "float[3] mu, float[3, 3] D, float[1] mu2, float[1] scale"
SHAPE = (8, 14, 13)


@dataclass(frozen=True)
class Kind:
    """A model.

    Attributes:
        text: its graph as ONNX text; a parameter's name tells what it is filled with.
        whitening: what becomes of a ChannelDeconv that nothing takes.
        plugins: how many nodes a plugin can run.
    """

    text: str
    whitening: str = CONV
    plugins: int = 0


KINDS = {
    "folded": Kind(
        _X.format(outputs=6) + "<float[6, 8, 3, 3] w, float[6] b, float[1, 36] mu, "
        f"float[1, 36, 36] D> {{ y = nd_deploy.NDFastDeconv <{_GEOMETRY}> (x, w, b, mu, D) }}"
    ),
    "1x1 convolution": Kind(
        _X.format(outputs=8) + f"<{_MAP}> {{ s = Sigmoid(x) "
        "a = nd_deploy.NDChannelDeconv(s, mu, D) y = Relu(a) }"
    ),
    "left": Kind(
        _X.format(outputs=8) + f"<{_MAP}> {{ s = Sigmoid(x) "
        "a = nd_deploy.NDChannelDeconv(s, mu, D) y = Relu(a) }",
        PLUGIN,
        1,
    ),
    "left, with channels left over": Kind(
        _X.format(outputs=8) + f"<{_LEFTOVER}> {{ s = Sigmoid(x) "
        "a = nd_deploy.NDChannelDeconvLeftover(s, mu, D, mu2, scale) y = Neg(a) }",
        PLUGIN,
        1,
    ),
    "ChannelDeconv of the batch": Kind(
        _X.format(outputs=8) + "{ s = Sigmoid(x) y = nd_deploy.NDChannelDeconvDynamic "
        "<block=3, n_iter=5, sampling_stride=3, eps=0.01> (s) }",
        PLUGIN,
        1,
    ),
    "FastDeconv of the batch": Kind(
        _X.format(outputs=6) + "<float[6, 8, 3, 3] w, float[6] b> {"
        "u, v = nd_deploy.NDFastDeconvDynamic <kernel_shape=[3, 3], "
        "pads=[1, 1, 1, 1], dilations=[1, 1], group=1, block=4, n_iter=5, "
        "sampling_strides=[2, 2], eps=0.00001> (x, w, b)"
        "y = Conv <kernel_shape=[3, 3], pads=[1, 1, 1, 1]> (x, u, v) }",
        PLUGIN,
        1,
    ),
}

CONV_FORM, NODE_FORM = "conv", "node"


def make(kind: Kind) -> onnx.ModelProto:
    """The model before the passes, in float32."""
    return _filled(kind.text)


def deployed(kind: Kind, dtype: str, target: str = "portable") -> onnx.ModelProto:
    """The model as a bundle has it, in a type and for a target."""
    model = run_passes(make(kind), kind.whitening).model
    if dtype != "float32":
        model = cast(model, dtype)
    return fit(model, find_target(target))


def inputs(batch: int, shape: tuple[int, ...] = SHAPE) -> dict[str, NDArray[np.float32]]:
    """Values with a mean, for the models' one input."""
    rng = np.random.default_rng(1)
    return {"x": (rng.normal(size=(batch, *shape)) + 0.5).astype(np.float32)}


def chain(form: str, channels: int, size: int, length: int, block: int) -> onnx.ModelProto:
    """Whitenings one after another, so that what surrounds a run hardly counts.

    Args:
        form: CONV_FORM for dense 1x1 convolutions, NODE_FORM for nodes of the dialect.
        channels: of the maps.
        size: their height and width.
        length: how many there are.
        block: features a block.
    """
    shape = f"float[N, {channels}, {size}, {size}]"
    if form == CONV_FORM:
        parameters = f"float[{channels}, {channels}, 1, 1] Dense, float[{channels}] b"
        call = "Conv <kernel_shape=[1, 1]> ({}, Dense, b)"
    else:
        parameters = f"float[{block}] mu, float[{block}, {block}] D"
        call = "nd_deploy.NDChannelDeconv({}, mu, D)"
    names = ["x", *(f"t{index}" for index in range(1, length)), "y"]
    steps = " ".join(
        f"{after} = {call.format(before)}" for before, after in itertools.pairwise(names)
    )
    fill = {"Dense": lambda rng, sizes: _dense(rng, channels, block)}
    return _filled(f"({shape} x) => ({shape} y) <{parameters}> {{ {steps} }}", fill)


Fill = Callable[[np.random.Generator, list[int]], NDArray[np.float64]]


def _filled(text: str, fill: dict[str, Fill] | None = None) -> onnx.ModelProto:
    """A model of random parameters, with the bodies of its nodes in it."""
    model = parser.parse_model(f"{_HEADER}network {text}")
    rng = np.random.default_rng(0)
    for info in model.graph.value_info:
        sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        draw = (fill or {}).get(info.name) or _FILL.get(info.name, _scaled)
        values = draw(rng, sizes).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, info.name))
    del model.graph.value_info[:]
    dialect.register_schemas()
    dialect.attach_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _scaled(rng: np.random.Generator, sizes: list[int]) -> NDArray[np.float64]:
    return rng.normal(size=sizes) / math.sqrt(max(1, math.prod(sizes[1:])))


def _near_identity(rng: np.random.Generator, sizes: list[int]) -> NDArray[np.float64]:
    """Matrices that keep values about as large as they are."""
    noise = rng.normal(size=sizes) / (4 * math.sqrt(sizes[-1]))
    return np.asarray(np.eye(sizes[-1]) + noise)


def _dense(rng: np.random.Generator, channels: int, block: int) -> NDArray[np.float64]:
    matrix = np.kron(_near_identity(rng, [block, block]), np.eye(channels // block))
    return matrix.reshape(channels, channels, 1, 1)


_FILL: dict[str, Fill] = {
    "D": _near_identity,
    "scale": lambda rng, sizes: rng.uniform(0.5, 1.5, sizes),
}
