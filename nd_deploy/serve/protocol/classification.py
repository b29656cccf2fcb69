"""Triton's classification extension: the largest values of an output instead of the output."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.serve.protocol.errors import bad_request

# Each is a Python string; Triton sorts at most as many.
_MOST_STRINGS = 1_000_000


def class_strings(
    output: NDArray[Any], classes: int, labels: Sequence[str] = ()
) -> NDArray[np.object_]:
    """The largest values of each image or other entry of a batch, as "value:index:label".

    Args:
        output: any shape whose first axis is the batch.
        classes: how many to give; all if there are fewer.
        labels: by index; where there is none the string ends behind the index.

    Returns:
        UTF-8 bytes of shape [batch, classes], the largest value first. Of equal values the first
        comes first; what is no number comes last. A value is written as C's "%f" does, or as a
        whole number.

    Raises:
        Refusal: 400, these are too many strings.
    """
    rows = output.reshape(len(output), math.prod(output.shape[1:]))
    count = min(classes, rows.shape[1])
    if len(rows) * count > _MOST_STRINGS:
        raise bad_request(f"the classification asks for more than {_MOST_STRINGS} classes")
    order = _descending(rows)[:, :count]
    strings = np.empty(order.shape, np.object_)
    form = "%d" if np.issubdtype(rows.dtype, np.integer) else "%f"
    for place, index in np.ndenumerate(order):
        value = form % rows[place[0], index]
        label = f":{labels[index]}" if index < len(labels) else ""
        strings[place] = f"{value}:{index}{label}".encode(errors="replace")
    return strings


def _descending(rows: NDArray[Any]) -> NDArray[np.intp]:
    # The complement turns the order of integers round and, unlike the negative, cannot overflow.
    keys = ~rows if np.issubdtype(rows.dtype, np.integer) else -rows
    return np.argsort(keys, axis=1, kind="stable")


def packed(strings: NDArray[np.object_]) -> bytes:
    """A BYTES tensor as binary data: the length of each element, 4 bytes, before it.

    Triton's binary tensor data extension, and raw contents of gRPC.
    """
    return b"".join(struct.pack("<I", len(item)) + item for item in strings.flat)
