"""Tensors of known shape, and the memory that they take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

_BITS_BELOW_A_BYTE = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}


@dataclass(frozen=True)
class Tensor:
    """A tensor of known shape.

    Attributes:
        shape: its sizes.
        element_type: of onnx.TensorProto.
    """

    shape: tuple[int, ...]
    element_type: int

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> float:
        """How much memory it takes; two elements of four bits share a byte."""
        bits = _BITS_BELOW_A_BYTE.get(onnx.TensorProto.DataType.Name(self.element_type))
        return self.size * (self.dtype.itemsize if bits is None else bits / 8)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its elements, as numpy holds them."""
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(self.element_type))


def tensor_of(kind: onnx.TypeProto | None) -> Tensor | None:
    """The tensor of a type, or None if that leaves something open or is no type of numbers."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims, element_type = kind.tensor_type.shape.dim, kind.tensor_type.elem_type
    if element_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return None
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return Tensor(tuple(dim.dim_value for dim in dims), element_type)


def type_of(tensor: Tensor) -> onnx.TypeProto:
    """The inverse of `tensor_of`."""
    return onnx.helper.make_tensor_type_proto(tensor.element_type, tensor.shape)
