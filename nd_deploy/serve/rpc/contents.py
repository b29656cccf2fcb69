"""Tensors whose values come in fields of their types, InferTensorContents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nd_deploy.serve.protocol.datatypes import BINARY_ONLY, numpy_dtype
from nd_deploy.serve.protocol.errors import bad_request, shown

# The field of each datatype (comments of InferTensorContents in the Open Inference Protocol), and
# the dtype of its values, which for small integers is wider than theirs.
_FIELDS: dict[str, tuple[str, type[np.generic]]] = {
    "BOOL": ("bool_contents", np.bool_),
    "INT8": ("int_contents", np.int32),
    "INT16": ("int_contents", np.int32),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
    "UINT8": ("uint_contents", np.uint32),
    "UINT16": ("uint_contents", np.uint32),
    "UINT32": ("uint_contents", np.uint32),
    "UINT64": ("uint64_contents", np.uint64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
}

# Values that are converted at once; between pieces other threads get their turn.
_PIECE = 2**14


def raw_contents(name: str, datatype: str, contents: Message) -> bytes | None:
    """Typed contents as the raw ones that they stand for.

    Args:
        name: of the input.
        datatype: that the client gives it.
        contents: an InferTensorContents.

    Returns:
        The values, little-endian and in rows; None if the protocol has no such tensor.

    Raises:
        Refusal: 400, the values are in another datatype's field or beyond the datatype's range, or
            it has no field.
    """
    if datatype in BINARY_ONLY:
        raise bad_request(
            f"input {shown(name)} is {datatype}, which is taken as raw_input_contents only"
        )
    if datatype not in _FIELDS:
        return None
    field, carried = _FIELDS[datatype]
    strangers = [other.name for other, _ in contents.ListFields() if other.name != field]
    if strangers:
        raise bad_request(
            f"input {shown(name)} is {datatype}, whose values belong in {field}, not in "
            f"{strangers[0]}"
        )
    array = _array(getattr(contents, field), carried)
    dtype = numpy_dtype(datatype)
    if array.dtype != dtype:
        _check_range(name, datatype, array, dtype)
    return array.astype(dtype, copy=False).tobytes()


def _array(values: Sequence[Any], dtype: type[np.generic]) -> NDArray[Any]:
    array = np.empty(len(values), dtype)
    for start in range(0, len(values), _PIECE):
        array[start : start + _PIECE] = values[start : start + _PIECE]
    return array


def _check_range(name: str, datatype: str, array: NDArray[Any], dtype: np.dtype[Any]) -> None:
    range_ = np.iinfo(dtype)
    if array.size and not (range_.min <= array.min() and array.max() <= range_.max):
        raise bad_request(
            f"input {shown(name)} holds values that are no {datatype}, which goes from "
            f"{range_.min} to {range_.max}"
        )
