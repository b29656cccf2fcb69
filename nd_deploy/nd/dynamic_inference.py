"""Shape inference of the ops that take their statistics from the batch."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import shape_inference

from nd_deploy.nd.ops.dynamic import (
    CHANNEL_DECONV_DYNAMIC,
    DELINEAR_DYNAMIC,
    FAST_DECONV_DYNAMIC,
)

# How many numbers each attribute of a 2-D window has.
_LENGTHS = {"kernel_shape": 2, "pads": 4, "dilations": 2, "sampling_strides": 2}


def _infer_folded_convolution(context: shape_inference.InferenceContext) -> None:
    _require_axes(context, FAST_DECONV_DYNAMIC, 0, (4,))
    _require_axes(context, FAST_DECONV_DYNAMIC, 1, (4,))
    for name, length in _LENGTHS.items():
        attribute = context.get_attribute(name)
        given = [] if attribute is None else list(attribute.ints)
        if len(given) != length:
            raise shape_inference.InferenceError(
                f"{FAST_DECONV_DYNAMIC} has {name} {given}, which takes {length} numbers"
            )
    _infer_folded(context)


def _infer_folded_linear(context: shape_inference.InferenceContext) -> None:
    _require_axes(context, DELINEAR_DYNAMIC, 1, (2,))
    _infer_folded(context)


def _infer_same_shape(context: shape_inference.InferenceContext) -> None:
    _require_axes(context, CHANNEL_DECONV_DYNAMIC, 0, (2, 4))
    x = context.get_input_type(0)
    if x is not None:
        context.set_output_type(0, x)


def _infer_folded(context: shape_inference.InferenceContext) -> None:
    """Weight and bias of the shapes of those read, in the type of x."""
    x = context.get_input_type(0)
    if x is None:
        return
    for index in (0, 1):
        source = context.get_input_type(index + 1)
        folded = onnx.TypeProto()
        folded.tensor_type.elem_type = x.tensor_type.elem_type
        if source is not None and source.tensor_type.HasField("shape"):
            folded.tensor_type.shape.CopyFrom(source.tensor_type.shape)
        context.set_output_type(index, folded)


def _require_axes(
    context: shape_inference.InferenceContext, op: str, index: int, allowed: tuple[int, ...]
) -> None:
    kind = context.get_input_type(index)
    if kind is None or not kind.tensor_type.HasField("shape"):
        return
    axes = len(kind.tensor_type.shape.dim)
    if axes not in allowed:
        raise shape_inference.InferenceError(
            f"{op} has an input {index} of {axes} axes, which takes "
            f"{' or '.join(map(str, allowed))}"
        )


DYNAMIC_INFERENCE: dict[str, Callable[[shape_inference.InferenceContext], None]] = {
    FAST_DECONV_DYNAMIC: _infer_folded_convolution,
    DELINEAR_DYNAMIC: _infer_folded_linear,
    CHANNEL_DECONV_DYNAMIC: _infer_same_shape,
}
