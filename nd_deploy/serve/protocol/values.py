"""Numbers of JSON, or of gRPC's typed contents, to arrays: exactly, or refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.serve.exchange import TensorSpec
from nd_deploy.serve.protocol.datatypes import BINARY_ONLY, FLOATS, numpy_dtype
from nd_deploy.serve.protocol.errors import bad_request, not_finite, shown
from nd_deploy.serve.refusal import Refusal


def array_of(
    tensor: TensorSpec, shape: tuple[int, ...], values: Sequence[Any], allow_nonfinite: bool
) -> NDArray[Any]:
    """Make an array of an input's values.

    Args:
        tensor: the model's input.
        shape: that the client gave, and that fits the model.
        values: flat, or nested exactly as the shape says.
        allow_nonfinite: whether NaN and infinity may be among them.

    Returns:
        The values in the model's dtype, rounded only where it is a floating-point one.

    Raises:
        Refusal: 400, there are more or fewer than the shape says, some are of another kind or too
            large for the datatype, or the datatype is taken as binary data only.
    """
    if tensor.datatype in BINARY_ONLY:
        raise bad_request(
            f"input {shown(tensor.name)} is {tensor.datatype}, which is taken as binary data only"
        )
    flat = _flat(tensor, shape, values)
    if tensor.datatype == "BOOL":
        _check_kinds(tensor, flat, {bool}, "true and false")
        return np.array(flat, np.bool_).reshape(shape)
    if tensor.datatype in FLOATS:
        _check_kinds(tensor, flat, {int, float}, "numbers")
        return _floats(tensor, flat, allow_nonfinite).reshape(shape)
    _check_kinds(tensor, flat, {int}, "whole numbers, without point or exponent")
    return _integers(tensor, flat).reshape(shape)


def _flat(tensor: TensorSpec, shape: tuple[int, ...], values: Sequence[Any]) -> Sequence[Any]:
    count = math.prod(shape)
    if values and type(values[0]) is list:
        return _flattened(tensor, shape, values)
    if len(values) != count:
        raise bad_request(
            f"input {shown(tensor.name)} has {len(values)} values; shape {list(shape)} takes "
            f"{count}"
        )
    return values


def _flattened(tensor: TensorSpec, shape: tuple[int, ...], values: Sequence[Any]) -> Sequence[Any]:
    if not shape or len(values) != shape[0]:
        raise _badly_nested(tensor, shape)
    for size in shape[1:]:
        if set(map(type, values)) != {list} or set(map(len, values)) != {size}:
            raise _badly_nested(tensor, shape)
        values = list(chain.from_iterable(values))
    return values


def _badly_nested(tensor: TensorSpec, shape: tuple[int, ...]) -> Refusal:
    return bad_request(
        f"the lists of input {shown(tensor.name)} are nested otherwise than shape {list(shape)}"
    )


def _check_kinds(tensor: TensorSpec, flat: Sequence[Any], taken: set[type], wanted: str) -> None:
    # Not isinstance: to Python, true is a number.
    others = set(map(type, flat)) - taken
    if others:
        value = next(value for value in flat if type(value) in others)
        raise bad_request(
            f"input {shown(tensor.name)} holds {shown(value)}; {tensor.datatype} takes {wanted}"
        )


def _floats(tensor: TensorSpec, flat: Sequence[Any], allow_nonfinite: bool) -> NDArray[Any]:
    exact = np.array(flat, np.float64)
    with np.errstate(over="ignore"):
        array = exact.astype(numpy_dtype(tensor.datatype))
    lost = ~np.isfinite(array)
    if not lost.any():
        return array
    if np.isfinite(exact[lost]).any():
        raise bad_request(f"input {shown(tensor.name)} holds numbers beyond {tensor.datatype}")
    if not allow_nonfinite:
        raise not_finite(tensor.name)
    return array


def _integers(tensor: TensorSpec, flat: Sequence[Any]) -> NDArray[Any]:
    dtype = numpy_dtype(tensor.datatype)
    limits = np.iinfo(dtype)
    if min(flat) < limits.min or max(flat) > limits.max:
        raise bad_request(f"input {shown(tensor.name)} holds numbers beyond {tensor.datatype}")
    return np.array(flat, dtype)
