"""The plugin ops as their Python twins see them: inputs, fields, outputs and arithmetic.

Names and fields are those of the C++ plugins, which are the attributes of the dialect's ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from nd_deploy.errors import InputError
from nd_deploy.nd.ops import (
    CHANNEL_DECONV,
    CHANNEL_DECONV_LEFTOVER,
    CHANNEL_DECONV_LEFTOVER_RELU,
    CHANNEL_DECONV_RELU,
)
from nd_deploy.nd.ops.dynamic import CHANNEL_DECONV_DYNAMIC, FAST_DECONV_DYNAMIC

if TYPE_CHECKING:
    from torch import Tensor

CONVERT_AGAIN = "convert the network again with this nd-deploy"

Value: TypeAlias = "int | float | tuple[int, ...]"
Fields: TypeAlias = Mapping[str, Value]
Shapes: TypeAlias = "Sequence[Sequence[int]]"


@dataclass(frozen=True)
class PluginOp:
    """One op that a plugin computes.

    Attributes:
        name: the op type, which is the plugin's name too.
        inputs: how many; the first has the type T, the others are float32.
        fields: kinds by name; an "ints" has one value an axis, or one for each of its two sides.
        outputs: for each output the input whose shape it has; all are of type T.
        check: raises InputError where the shapes of the inputs fit neither each other nor the
            fields; a size of -1 is not known yet.
        compute: the outputs of inputs on one device.
    """

    name: str
    inputs: int
    fields: Mapping[str, Literal["int", "ints", "float"]]
    outputs: tuple[int, ...]
    check: Callable[[Shapes, Fields], None]
    compute: Callable[[Sequence[Tensor], Fields], tuple[Tensor, ...]]


def _frozen(name: str, inputs: int, relu: bool) -> PluginOp:
    def compute(tensors: Sequence[Tensor], fields: Fields) -> tuple[Tensor, ...]:
        from nd_deploy.plugins.twin_compute import channel_deconv

        return (channel_deconv(*tensors, relu=relu),)

    def check(shapes: Shapes, fields: Fields) -> None:
        x, mean, deconv, *leftover = shapes
        features = deconv[0]
        _require(name, len(deconv) == 2 and deconv[1] == features, "deconv is not square")
        _require(name, list(mean) == [features], f"mean is not ({features},)")
        _require(name, len(x) >= 2, "x has no axis of channels")
        whole = bool(leftover) or x[1] < 0 or x[1] % features == 0
        _require(name, whole, f"{x[1]} channels do not split into blocks of {features}")

    return PluginOp(name, inputs, {}, (0,), check, compute)


def _fast_deconv_dynamic(tensors: Sequence[Tensor], fields: Fields) -> tuple[Tensor, ...]:
    from nd_deploy.plugins.twin_compute import fast_deconv_dynamic

    # What is left out describes the convolution behind, not the statistics.
    used = {name: value for name, value in fields.items() if name in _STATISTICS}
    return fast_deconv_dynamic(*tensors, **used)  # type: ignore[arg-type]


def _check_fast_deconv(shapes: Shapes, fields: Fields) -> None:
    x, weight, bias = shapes
    name, group, block = FAST_DECONV_DYNAMIC, _int(fields, "group"), _int(fields, "block")
    _require(name, len(x) == 4 and len(weight) == 4, "x and weight are not both 4-D")
    _require(name, list(bias) == [weight[0]], f"bias is not ({weight[0]},)")
    fits = x[1] < 0 or x[1] == weight[1] * group
    _require(name, fits, f"x has {x[1]} channels, weight {weight[1]} and group is {group}")
    splits = group > 1 or (block >= 1 and weight[1] % block == 0)
    _require(name, splits, f"{weight[1]} channels do not split into blocks of {block}")
    for field, length in {"pads": 4, "dilations": 2, "sampling_strides": 2}.items():
        value = fields[field]
        right = isinstance(value, tuple) and len(value) == length
        _require(name, right, f"{field} is {value}, not {length} integers")


def _channel_deconv_dynamic(tensors: Sequence[Tensor], fields: Fields) -> tuple[Tensor, ...]:
    from nd_deploy.plugins.twin_compute import channel_deconv_dynamic

    return (channel_deconv_dynamic(*tensors, **fields),)  # type: ignore[arg-type]


def _check_channel_deconv(shapes: Shapes, fields: Fields) -> None:
    (x,) = shapes
    _require(CHANNEL_DECONV_DYNAMIC, len(x) in (2, 4), "x is neither 2-D nor 4-D")
    positive = min(_int(fields, "block"), _int(fields, "sampling_stride")) >= 1
    _require(CHANNEL_DECONV_DYNAMIC, positive, "block or sampling_stride is below 1")


def _int(fields: Fields, name: str) -> int:
    value = fields[name]
    assert isinstance(value, int)
    return value


def _require(op: str, condition: bool, problem: str) -> None:
    if not condition:
        raise InputError(f"{op}: {problem}", CONVERT_AGAIN)


_STATISTICS = {"pads", "dilations", "sampling_strides", "group", "block", "n_iter", "eps"}

PLUGIN_OPS: Mapping[str, PluginOp] = {
    op.name: op
    for op in (
        _frozen(CHANNEL_DECONV, 3, relu=False),
        _frozen(CHANNEL_DECONV_LEFTOVER, 5, relu=False),
        _frozen(CHANNEL_DECONV_RELU, 3, relu=True),
        _frozen(CHANNEL_DECONV_LEFTOVER_RELU, 5, relu=True),
        PluginOp(
            FAST_DECONV_DYNAMIC,
            3,
            {
                "kernel_shape": "ints",
                "pads": "ints",
                "dilations": "ints",
                "group": "int",
                "block": "int",
                "n_iter": "int",
                "sampling_strides": "ints",
                "eps": "float",
            },
            (1, 2),
            _check_fast_deconv,
            _fast_deconv_dynamic,
        ),
        PluginOp(
            CHANNEL_DECONV_DYNAMIC,
            1,
            {"block": "int", "n_iter": "int", "sampling_stride": "int", "eps": "float"},
            (0,),
            _check_channel_deconv,
            _channel_deconv_dynamic,
        ),
    )
}
