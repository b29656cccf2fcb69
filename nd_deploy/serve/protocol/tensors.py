"""An input's values: of the model's dtype and of a shape that it takes, or refused.

Whatever a client claims of a size is compared with what it sent before an array is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.protocol.datatypes import FLOATS, item_size, numpy_dtype
from nd_deploy.serve.protocol.errors import bad_request, not_finite, shown
from nd_deploy.serve.protocol.fields import InputFields
from nd_deploy.serve.protocol.values import array_of


def read_tensor(
    tensor: TensorSpec, given: InputFields, spec: ModelSpec, allow_nonfinite: bool
) -> NDArray[Any]:
    """Read an input.

    Args:
        tensor: the model's input of that name.
        given: what the client sent for it.
        spec: of the model.
        allow_nonfinite: whether NaN and infinity may be among its values.

    Returns:
        Its values, in the model's dtype; a view of the client's bytes where these are aligned.

    Raises:
        Refusal: 400, the datatype, the shape or the values do not fit.
    """
    if given.datatype != tensor.datatype:
        raise bad_request(
            f"input {shown(tensor.name)} has datatype {shown(given.datatype)}; the model takes "
            f"{tensor.datatype}"
        )
    check_shape(tensor, given.shape, spec)
    if given.values is not None:
        return array_of(tensor, given.shape, given.values, allow_nonfinite)
    if given.data is None:
        raise bad_request(f"input {shown(tensor.name)} has no data")
    array = view_of(tensor, given.shape, given.data)
    if tensor.datatype in FLOATS and not allow_nonfinite and not _all_finite(array):
        raise not_finite(tensor.name)
    return array


def check_shape(tensor: TensorSpec, shape: Sequence[int], spec: ModelSpec) -> None:
    """Compare a client's shape with the model's.

    Raises:
        Refusal: 400, the rank or a size is another, or the batch is too large.
    """
    if not _fits(shape, tensor.shape):
        raise bad_request(
            f"input {shown(tensor.name)} has shape {shown(list(shape))}; the model takes "
            f"{list(tensor.shape)}"
        )
    if spec.max_batch and tensor.shape and tensor.shape[0] < 0 and shape[0] > spec.max_batch:
        raise bad_request(
            f"input {shown(tensor.name)} has a batch of {shape[0]}; the model takes at most "
            f"{spec.max_batch}"
        )


def _fits(shape: Sequence[int], wanted: tuple[int, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    for size, own in zip(shape, wanted, strict=True):
        if size != own and not own < 0 < size:
            return False
    return True


def _all_finite(array: NDArray[Any]) -> bool:
    # In half the time of all().
    return b"\0" not in np.isfinite(array).tobytes()


def view_of(tensor: TensorSpec, shape: tuple[int, ...], data: bytes | memoryview) -> NDArray[Any]:
    """See bytes as an input, little-endian and in rows (Triton's binary tensor data extension).

    Raises:
        Refusal: 400, they are too many or too few, or no booleans.
    """
    size = math.prod(shape) * item_size(tensor.datatype)
    if len(data) != size:
        raise bad_request(
            f"input {shown(tensor.name)} has {len(data)} bytes of data; {tensor.datatype} of shape "
            f"{shown(list(shape))} takes {size}"
        )
    if tensor.datatype == "BOOL" and np.frombuffer(data, np.uint8).max() > 1:
        raise bad_request(f"input {shown(tensor.name)} is BOOL and has bytes other than 0 and 1")
    array = np.frombuffer(data, numpy_dtype(tensor.datatype)).reshape(shape)
    # The JSON before the data may have any length, and runtimes read whole words.
    return array if array.flags.aligned else array.copy()
