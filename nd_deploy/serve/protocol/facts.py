"""What follows from a model's description, found out once and not for each request."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from nd_deploy.serve.exchange import ModelSpec, OutputWanted
from nd_deploy.serve.protocol.datatypes import item_size

# Room for names, shapes and parameters beside the tensors' values.
_OVERHEAD_VALUES = 4096


# Two of them are never compared, and are keys of what is remembered.
@dataclass(frozen=True, eq=False)
class Facts:
    """Of a model, for whoever reads requests to it.

    Attributes:
        max_batch: of its description.
        input_bytes: of the largest request's inputs together; 0 if the model does not bound them.
        most_values: values, lists included, that the JSON of the largest request has; None if the
            model does not bound them.
        inputs: their names, in order.
        datatypes: of the outputs, by name.
        json_outputs: what a request gets that names no output.
        binary_outputs: the same as binary data.
    """

    max_batch: int
    input_bytes: int
    most_values: int | None
    inputs: tuple[str, ...]
    datatypes: dict[str, str]
    json_outputs: tuple[OutputWanted, ...]
    binary_outputs: tuple[OutputWanted, ...]


_known: dict[str, tuple[ModelSpec, Facts]] = {}


def facts_of(spec: ModelSpec) -> Facts:
    """The facts of a model; any thread may ask.

    Those of the last description of each name are kept, which are as many as are served.
    """
    known = _known.get(spec.name)
    # Not by equality, whose cost is what this is to save.
    if known is None or known[0] is not spec:
        known = _known[spec.name] = (spec, _find_out(spec))
    return known[1]


def _find_out(spec: ModelSpec) -> Facts:
    shapes = list(_with_largest_batch(spec))
    is_open = any(size < 0 for shape in shapes for size in shape)
    return Facts(
        max_batch=spec.max_batch,
        input_bytes=0 if is_open else _bytes(spec, shapes),
        most_values=None if is_open else _OVERHEAD_VALUES + sum(map(_nested_values, shapes)),
        inputs=tuple(tensor.name for tensor in spec.inputs),
        datatypes={tensor.name: tensor.datatype for tensor in spec.outputs},
        json_outputs=tuple(OutputWanted(tensor.name) for tensor in spec.outputs),
        binary_outputs=tuple(OutputWanted(tensor.name, binary=True) for tensor in spec.outputs),
    )


def _with_largest_batch(spec: ModelSpec) -> Iterator[tuple[int, ...]]:
    for tensor in spec.inputs:
        if tensor.shape and tensor.shape[0] < 0 and spec.max_batch:
            yield (spec.max_batch, *tensor.shape[1:])
        else:
            yield tensor.shape


def _bytes(spec: ModelSpec, shapes: list[tuple[int, ...]]) -> int:
    sizes = (item_size(tensor.datatype) for tensor in spec.inputs)
    return sum(size * math.prod(shape) for size, shape in zip(sizes, shapes, strict=True))


def _nested_values(shape: tuple[int, ...]) -> int:
    """Numbers of a nested array, and twice its lists: each adds itself and a comma."""
    lists = 1 + sum(accumulate(shape[:-1], mul))
    return math.prod(shape) + 2 * int(lists)
