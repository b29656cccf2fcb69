"""ONNX ops in numpy where those of onnx's evaluator are wrong, slow or round.

Importing this module imports onnx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_constant, op_resize

from nd_deploy.attributes import written_value
from nd_deploy.errors import GraphError
from nd_deploy.runtime import kernels, resizing

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)

# Of a scale that is taken for a fraction, such as 2/3 or 1.25.
_LARGEST_DENOMINATOR = 1000

Results = tuple[Any, ...]


class Conv(OpRun):
    """Convolution."""

    def _run(
        self,
        x: np.ndarray,
        w: np.ndarray,
        b: np.ndarray | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> Results:
        del kernel_shape
        window = _window(x, w.shape[2:], strides, pads, dilations, auto_pad)
        return (kernels.convolve(x, w, b, *window, group),)


class ConvTranspose(OpRun):
    """Transposed convolution."""

    def _run(
        self,
        x: np.ndarray,
        w: np.ndarray,
        b: np.ndarray | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        output_padding: Sequence[int] | None = None,
        output_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> Results:
        del kernel_shape
        if output_shape is not None or auto_pad not in (None, "NOTSET", "VALID"):
            raise GraphError(
                f"ConvTranspose '{self.onnx_node.name}' computes its pads from its output's shape",
                "write the pads into the model",
            )
        window = _window(x, w.shape[2:], strides, pads, dilations, auto_pad)
        more = tuple(output_padding or (0,) * (x.ndim - 2))
        return (kernels.convolve_transposed(x, w, b, *window, group, more),)


class MaxPool(OpRun):
    """Largest value of each window."""

    def _run(
        self,
        x: np.ndarray,
        auto_pad: str | None = None,
        ceil_mode: int = 0,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] = (),
        pads: Sequence[int] | None = None,
        storage_order: int = 0,
        strides: Sequence[int] | None = None,
    ) -> Results:
        del storage_order
        if len(self.output) > 1:
            raise GraphError(
                f"MaxPool '{self.onnx_node.name}' returns indices, which the float64 reference "
                "does not compute",
                "compare this model in ONNX Runtime alone",
            )
        window = _window(x, kernel_shape, strides, pads, dilations, auto_pad)
        return (kernels.pool_max(x, tuple(kernel_shape), *window, bool(ceil_mode)),)


class AveragePool(OpRun):
    """Mean of each window."""

    def _run(
        self,
        x: np.ndarray,
        auto_pad: str | None = None,
        ceil_mode: int = 0,
        count_include_pad: int = 0,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] = (),
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> Results:
        window = _window(x, kernel_shape, strides, pads, dilations, auto_pad)
        ceil, count_pads = bool(ceil_mode), bool(count_include_pad)
        return (kernels.pool_average(x, tuple(kernel_shape), *window, ceil, count_pads),)


class BatchNormalization(OpRun):
    """Batch normalisation at inference; before opset 14, that of onnx always trains."""

    def _run(
        self,
        x: np.ndarray,
        scale: np.ndarray,
        b: np.ndarray,
        mean: np.ndarray,
        var: np.ndarray,
        epsilon: float = 1e-5,
        **rest: object,
    ) -> Results:
        if rest.get("training_mode"):
            raise GraphError(
                f"BatchNormalization '{self.onnx_node.name}' is in training mode",
                "export the network in eval mode",
            )
        spread = (-1, *(1,) * (x.ndim - 2))
        y = (x - mean.reshape(spread)) * (scale / np.sqrt(var + epsilon)).reshape(spread)
        y += b.reshape(spread)
        return (y,)


class Relu(OpRun):
    """Rectifier."""

    def _run(self, x: np.ndarray) -> Results:
        return (np.maximum(x, 0),)


class Sigmoid(OpRun):
    """Logistic function, which that of onnx overflows in."""

    def _run(self, x: np.ndarray) -> Results:
        small = np.exp(-np.abs(x))
        return (np.where(x >= 0, 1.0, small) / (1.0 + small),)


class Resize(op_resize.Resize):
    """Resizing in the ways that PyTorch exports; in others it is that of onnx.

    That of onnx takes a step of Python for each pixel in older releases, and reads scales as they
    are after they have been rounded to float32.
    """

    def _run(  # type: ignore[override]
        self,
        x: np.ndarray,
        roi: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        sizes: np.ndarray | None = None,
        **how: Any,  # noqa: ANN401 - the attributes, as onnx's evaluator knows them
    ) -> Results:
        if scales is not None:
            scales = np.array([_written(scale) for scale in scales])
        read = _reader(x, how)
        if read is None:
            results: Results = super()._run(x, roi, scales, sizes, **how)
            return results
        axes = range(x.ndim) if how.get("axes") is None else how["axes"]
        for place, axis in enumerate(int(axis) % x.ndim for axis in axes):
            size = x.shape[axis]
            new_size, scale = _target(size, place, scales, sizes)
            if new_size != size or scale not in (None, 1.0):
                layout = how["coordinate_transformation_mode"]
                x = read(x, axis, resizing.positions(layout, size, new_size, scale))
        return (x,)


class Constant(op_constant.Constant_12):
    """A constant; one whose value is an attribute of the function that it stands in is exact."""

    def _run(self, **linked: Any) -> Results:  # noqa: ANN401 - the function's attributes
        (value,) = super()._run(**linked)  # type: ignore[no-untyped-call]
        if self.has_linked_attribute and value.dtype == np.float32:
            return (np.vectorize(written_value, otypes=[np.float64])(value),)
        return (value,)


class Cast(OpRun):
    """Conversion between dtypes, of which those between floats do nothing."""

    def _run(self, x: np.ndarray, to: int = 0, **rest: object) -> Results:
        del rest
        if to not in _FLOATS:
            return (x.astype(helper.tensor_dtype_to_np_dtype(to), copy=False),)
        return (x if x.dtype.kind == "f" else x.astype(np.float64),)


class CastLike(OpRun):
    """Conversion to the dtype of another tensor."""

    def _run(self, x: np.ndarray, like: np.ndarray, **rest: object) -> Results:
        del rest
        return (x.astype(like.dtype, copy=False),)


def _reader(x: np.ndarray, how: Mapping[str, Any]) -> resizing.Reader | None:
    """How to resize x, or None where PyTorch exports nothing of the kind."""
    plain = (
        how["coordinate_transformation_mode"] in resizing.LAYOUTS
        and how.get("keep_aspect_ratio_policy") in (None, "stretch")
        and not how.get("antialias")
        and not how.get("exclude_outside")
    )
    if plain and how["mode"] == "linear" and x.dtype.kind == "f":
        return resizing.read_linear
    if plain and how["mode"] == "nearest" and how["nearest_mode"] == "floor":
        return resizing.read_nearest
    return None


def _target(
    size: int, place: int, scales: np.ndarray | None, sizes: np.ndarray | None
) -> tuple[int, float | None]:
    """The size that an axis is to have, and the scale that was given in its stead."""
    if sizes is not None:
        return int(sizes[place]), None
    if scales is None:
        raise ValueError("Resize has neither scales nor sizes")
    return int(size * scales[place]), float(scales[place])


def _written(scale: float) -> float:
    """A scale as it was before ONNX kept it in float32: 1.7 for 1.70000005, a third for 0.33333334.

    Between positions it makes a difference of its rounding times the position.
    """
    if scale != np.float32(scale):  # it has not been in float32
        return float(scale)
    simple = float(Fraction(float(scale)).limit_denominator(_LARGEST_DENOMINATOR))
    return simple if np.float32(simple) == scale else written_value(scale)


def _window(
    x: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    auto_pad: str | None,
) -> tuple[kernels.Ints, kernels.Pads, kernels.Ints]:
    """Fill in the defaults of a window's attributes: its strides, pads and dilations."""
    n = len(kernel)
    strides, dilations = tuple(strides or (1,) * n), tuple(dilations or (1,) * n)
    if auto_pad == "VALID":
        return strides, ((0, 0),) * n, dilations
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        pads = tuple(pads or (0,) * 2 * n)
        return strides, tuple(zip(pads[:n], pads[n:], strict=True)), dilations
    same = []
    for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        less, more = total // 2, total - total // 2
        same.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return strides, tuple(same), dilations


OPS: tuple[type[OpRun], ...] = (
    Conv,
    ConvTranspose,
    MaxPool,
    AveragePool,
    BatchNormalization,
    Relu,
    Sigmoid,
    Resize,
    Constant,
    Cast,
    CastLike,
)
