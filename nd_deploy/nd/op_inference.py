"""Shape inference of the ND ops."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import shape_inference

from nd_deploy.nd.dynamic_inference import DYNAMIC_INFERENCE
from nd_deploy.nd.ops import (
    CENTRE,
    CHANNEL_DECONV,
    CHANNEL_DECONV_LEFTOVER,
    CHANNEL_DECONV_LEFTOVER_RELU,
    CHANNEL_DECONV_RELU,
    CONV_ATTRIBUTES,
    DELINEAR,
    FAST_DECONV,
    FAST_DECONV_TRANSPOSE,
)


def _infer_same_shape(context: shape_inference.InferenceContext) -> None:
    x = context.get_input_type(0)
    if x is not None:
        context.set_output_type(0, x)


def _infer_linear(context: shape_inference.InferenceContext) -> None:
    output = context.get_input_type(0)
    if output is None:
        return
    dims = output.tensor_type.shape.dim
    if dims:
        dims[-1].CopyFrom(_outputs(context))
    context.set_output_type(0, output)


def _infer_conv(context: shape_inference.InferenceContext) -> None:
    def size(i: int, before: int, stride: int, reach: int, padding: int) -> int:
        return (before + padding - reach) // stride + 1

    _infer_window(context, FAST_DECONV, size)


def _infer_transpose(context: shape_inference.InferenceContext) -> None:
    extra = _ints(context, "output_padding")

    def size(i: int, before: int, stride: int, reach: int, padding: int) -> int:
        return (before - 1) * stride + reach + extra[i] - padding

    _infer_window(context, FAST_DECONV_TRANSPOSE, size)


def _infer_window(
    context: shape_inference.InferenceContext,
    op: str,
    size: Callable[[int, int, int, int, int], int],
) -> None:
    """Infer what a window makes of each spatial axis.

    Args:
        context: of the node.
        op: its type.
        size: (axis, size before, stride, how far the kernel reaches, padding of both sides) to
            the size after.
    """
    output = context.get_input_type(0)
    if output is None:
        return
    dims = output.tensor_type.shape.dim
    kernel, strides, pads, dilations = (_ints(context, name) for name in CONV_ATTRIBUTES[:-1])
    sizes = {len(kernel), len(strides), len(dilations), len(pads) / 2}
    if sizes != {len(dims) - 2 if dims else len(kernel)}:
        raise shape_inference.InferenceError(
            f"{op} has an input of {len(dims)} axes, kernel_shape {kernel}, "
            f"strides {strides}, pads {pads} and dilations {dilations}"
        )
    if dims:
        dims[1].CopyFrom(_outputs(context))
    for i, dim in enumerate(dims[2:]):
        before = dim.dim_value
        dim.Clear()
        if before:
            reach = dilations[i] * (kernel[i] - 1) + 1
            dim.dim_value = size(i, before, strides[i], reach, pads[i] + pads[i + len(kernel)])
    context.set_output_type(0, output)


def _outputs(context: shape_inference.InferenceContext) -> onnx.TensorShapeProto.Dimension:
    """The size of the weight's axis 0, unknown where the weight is."""
    weight = context.get_input_type(1)
    dims = weight.tensor_type.shape.dim if weight is not None else ()
    return dims[0] if dims else onnx.TensorShapeProto.Dimension()


def _ints(context: shape_inference.InferenceContext, name: str) -> list[int]:
    attribute = context.get_attribute(name)
    return [] if attribute is None else list(attribute.ints)


INFERENCE: dict[str, Callable[[shape_inference.InferenceContext], None]] = {
    FAST_DECONV: _infer_conv,
    FAST_DECONV_TRANSPOSE: _infer_transpose,
    DELINEAR: _infer_linear,
    CHANNEL_DECONV: _infer_same_shape,
    CHANNEL_DECONV_RELU: _infer_same_shape,
    CHANNEL_DECONV_LEFTOVER: _infer_same_shape,
    CHANNEL_DECONV_LEFTOVER_RELU: _infer_same_shape,
    CENTRE: _infer_same_shape,
    **DYNAMIC_INFERENCE,
}
