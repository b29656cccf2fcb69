"""How much a request may hold, known before any of it is parsed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from itertools import accumulate
from operator import mul

from nd_deploy.serve.exchange import ModelSpec, TensorSpec
from nd_deploy.serve.protocol.datatypes import item_size
from nd_deploy.serve.settings import Settings

# Room for names, shapes and parameters beside the tensors' values.
_OVERHEAD_VALUES = 4096


def body_limit(spec: ModelSpec, settings: Settings) -> int:
    """Bytes that a request's body may have, before and after decompression.

    The settings' limit, or a quarter more than the largest batch takes if that is larger.
    """
    return max(settings.body_limit, _largest_bytes(spec.inputs, spec.max_batch) * 5 // 4)


def most_values(spec: ModelSpec) -> int | None:
    """Values, lists included, that the JSON of the model's largest request has.

    None if the model does not bound its inputs.
    """
    return _largest_values(spec.inputs, spec.max_batch)


@functools.lru_cache(maxsize=64)
def _largest_bytes(inputs: tuple[TensorSpec, ...], max_batch: int) -> int:
    """Of the inputs together; 0 if the model does not bound them."""
    shapes = list(_with_largest_batch(inputs, max_batch))
    if _is_open(shapes):
        return 0
    return sum(
        math.prod(shape) * item_size(tensor.datatype)
        for tensor, shape in zip(inputs, shapes, strict=True)
    )


@functools.lru_cache(maxsize=64)
def _largest_values(inputs: tuple[TensorSpec, ...], max_batch: int) -> int | None:
    shapes = list(_with_largest_batch(inputs, max_batch))
    if _is_open(shapes):
        return None
    return _OVERHEAD_VALUES + sum(map(_nested_values, shapes))


def _nested_values(shape: tuple[int, ...]) -> int:
    """Numbers of a nested array, and twice its lists: each adds itself and a comma."""
    lists = 1 + sum(accumulate(shape[:-1], mul))
    return math.prod(shape) + 2 * int(lists)


def _is_open(shapes: list[tuple[int, ...]]) -> bool:
    return any(size < 0 for shape in shapes for size in shape)


def _with_largest_batch(
    inputs: tuple[TensorSpec, ...], max_batch: int
) -> Iterator[tuple[int, ...]]:
    for tensor in inputs:
        if tensor.shape and tensor.shape[0] < 0 and max_batch:
            yield (max_batch, *tensor.shape[1:])
        else:
            yield tensor.shape
