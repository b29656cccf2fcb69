"""Floating point operations of a node, by its op.

A multiplication with its addition counts two. Where a sum of products begins with a bias, that
costs nothing more, and padding is counted as if it were data; both as PyTorch's FlopCounterMode
counts. Everything else that computes counts one for each element, a transcendental function too:

* Conv, ConvTranspose, Gemm, MatMul and their integer forms: 2 for each product;
* MaxPool, AveragePool, LpPool: 1, 1, 2 for each element of each window;
* global pooling, Reduce*, ArgMax, ArgMin, CumSum: 1 for each element read, 2 where it is squared or
  changed first;
* Softmax, LogSoftmax: 5 for each element (maximum, difference, exponential, sum, quotient);
* LayerNormalization, InstanceNormalization, GroupNormalization, RMSNormalization: 7 for each
  element (mean, difference, square, sum, scale of the norm, scale, shift), 4 without the mean;
* BatchNormalization: 2 for each element;
* Resize, Upsample: 2 for each neighbour that is weighed, 0 for the nearest;
* elementwise ops: 1 for each element that they give, 1 less than there are inputs for Sum, Max and
  Min, as many as there are for Mean, 0 for a cast;
* what moves or names data: 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx

from nd_deploy.profiling.work.op_kinds import (
    CASTS,
    ELEMENTWISE,
    MOVES,
    REDUCTIONS,
    REDUCTIONS_OF_CHANGED,
    VIEWS,
)
from nd_deploy.profiling.work.step import Step

# That are weighed along each axis which is resized.
_NEIGHBOURS = {"nearest": 0, "linear": 2, "cubic": 4}

Rule = Callable[[Step], float | None]


def operations(step: Step) -> float | None:
    """How many floating point operations a node without subgraphs takes.

    Args:
        step: with known shapes.

    Returns:
        None if that is not known of its op.
    """
    rule = _RULES.get(step.node.op_type) if step.node.domain == "" else None
    return None if rule is None else rule(step)


def _each_read(count: float) -> Rule:
    return lambda step: count * step.input(0).size


def _each_given(count: float) -> Rule:
    return lambda step: count * step.output().size


def _each_in_window(count: float) -> Rule:
    return lambda step: count * step.output().size * math.prod(_attribute(step, "kernel_shape"))


def _convolution(weight: int) -> Rule:
    """2 for each output and each element of its filter, (C / group) k."""
    return lambda step: 2 * step.output().size * math.prod(step.input(weight).shape[1:])


def _transposed_convolution(step: Step) -> float:
    """2 for each input and each element of its filter, (O / group) k."""
    return 2 * step.input(0).size * math.prod(step.input(1).shape[1:])


def _matrix_product(step: Step) -> float:
    """2 for each output and each element of the row that it is the product of."""
    return 2 * step.output().size * step.input(0).shape[-1]


def _gemm(step: Step) -> float:
    rows, columns = step.input(0).shape
    return 2 * step.output().size * (rows if _attribute(step, "transA", 0) else columns)


def _einsum(step: Step) -> float | None:
    """2 for each product of a sum of products of two tensors, 1 for each product without a sum."""
    equation = _attribute(step, "equation").decode().replace(" ", "")
    terms, _, result = equation.partition("->")
    labels = terms.split(",")
    if "." in equation or "->" not in equation or len(labels) > 2:
        return None
    sizes: dict[str, int] = {}
    for index, term in enumerate(labels):
        sizes.update(zip(term, step.input(index).shape, strict=True))
    is_sum = len(sizes) > len(set(result))
    return math.prod(sizes.values()) * (len(labels) - 1 + is_sum)


def _resize(step: Step) -> float | None:
    along_axis = _NEIGHBOURS.get(_attribute(step, "mode", b"nearest").decode())
    if along_axis is None:
        return None
    sizes = zip(step.input(0).shape, step.output().shape, strict=True)
    resized = sum(before != after for before, after in sizes)
    return 2 * step.output().size * along_axis**resized if resized else 0


def _batch_norm(step: Step) -> float | None:
    training = _attribute(step, "training_mode", 0)
    return None if training else 2 * step.output().size


def _variadic(fewer: int) -> Rule:
    return lambda step: step.output().size * max(len(step.inputs) - fewer, 1)


def _attribute(step: Step, name: str, default: Any = None) -> Any:  # noqa: ANN401
    given = {a.name: onnx.helper.get_attribute_value(a) for a in step.node.attribute}
    return given.get(name, default)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _each_given(1)),
    **dict.fromkeys(CASTS | VIEWS | MOVES, _each_given(0)),
    **dict.fromkeys(("Sum", "Max", "Min"), _variadic(1)),
    "Mean": _variadic(0),
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("Conv", "ConvInteger"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), _matrix_product),
    "Gemm": _gemm,
    "Einsum": _einsum,
    **dict.fromkeys(("MaxPool", "AveragePool"), _each_in_window(1)),
    "LpPool": _each_in_window(2),
    **dict.fromkeys(REDUCTIONS, _each_read(1)),
    **dict.fromkeys(REDUCTIONS_OF_CHANGED, _each_read(2)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _each_read(5)),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization"), _each_read(7)
    ),
    "RMSNormalization": _each_read(4),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
}
