"""The datatypes of the Open Inference Protocol, and the dtypes that hold them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

# The protocol's section "Tensor Data Types"; BF16 is Triton's.
_DTYPES = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items()}

# Of text and bytes without a fixed size: what a classification is answered in.
BYTES = "BYTES"
# JSON has no form of these that clients agree on (Triton: "use the binary data format").
BINARY_ONLY = frozenset({"FP16", "BF16"})
FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})


@functools.cache
def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The dtype that holds values of `datatype`.

    Raises:
        KeyError: it is no datatype of tensors of numbers.
        ModuleNotFoundError: it is BF16, and ml_dtypes is not installed.
    """
    if datatype == "BF16":
        # It gives numpy the name, without which there is no such dtype.
        import ml_dtypes  # noqa: F401
    return np.dtype(_DTYPES[datatype])


@functools.cache
def datatype_of(dtype: np.dtype[Any] | str) -> str:
    """The protocol's name of a dtype, given as such or by its name; BYTES for objects.

    Raises:
        KeyError: the protocol has none.
    """
    name = str(dtype)
    return BYTES if name == "object" else _DATATYPES[name]


def item_size(datatype: str) -> int:
    """Bytes of one value.

    Raises:
        KeyError: the datatype has no fixed size.
    """
    return numpy_dtype(datatype).itemsize


def config_type(datatype: str) -> str:
    """The name of a datatype in Triton's model configurations, such as "TYPE_FP32"."""
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"
