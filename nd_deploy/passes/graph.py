"""Small questions about a graph, and small changes to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from nd_deploy.passes.base import Refusal


def constants(graph: gs.Graph) -> list[gs.Constant]:
    """All constants that nodes of the graph read, each once, in order of first use."""
    found: dict[int, gs.Constant] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant):
                found.setdefault(id(tensor), tensor)
    return list(found.values())


def parameters(node: gs.Node, start: int = 1) -> list[NDArray[np.floating]] | Refusal:
    """The values of a node's inputs from `start` on, or why they cannot be folded."""
    values: list[NDArray[np.floating]] = []
    for tensor in node.inputs[start:]:
        if tensor.is_empty():  # an optional input that is left out
            continue
        if not isinstance(tensor, gs.Constant):
            return Refusal(f"{tensor.name} is computed at run time")
        if tensor.dtype not in (np.float32, np.float64):
            return Refusal(f"{tensor.name} is {tensor.dtype}; fold before casting the network")
        values.append(tensor.values)
    return values


def write_parameter(
    graph: gs.Graph, node: gs.Node, index: int, values: NDArray[np.generic]
) -> None:
    """Give input `index` of `node` new values; a constant that others read too is left to them."""
    tensor = node.inputs[index] if index < len(node.inputs) else None
    if (
        isinstance(tensor, gs.Constant)
        and len(tensor.outputs) == 1
        and not is_output(graph, tensor)
    ):
        tensor.values = values
        return
    name = tensor.name if tensor is not None else f"{node.name}.bias"
    constant = gs.Constant(free_name(graph.tensors(), name or f"{node.name}.bias"), values)
    if index < len(node.inputs):
        node.inputs[index] = constant
    else:
        node.inputs.append(constant)


def is_output(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether a user of the model sees this tensor."""
    return any(tensor is output for output in graph.outputs)


def static_dim(tensor: gs.Tensor, axis: int) -> int | None:
    """The size of one axis, or None where it is unknown or dynamic."""
    if tensor.shape is None or len(tensor.shape) <= axis:
        return None
    size = tensor.shape[axis]
    return int(size) if isinstance(size, (int, np.integer)) else None


def rank(tensor: gs.Tensor) -> int | None:
    """The number of axes, or None where it is unknown."""
    return None if tensor.shape is None else len(tensor.shape)


def reads_size_only(node: gs.Node) -> bool:
    """Whether a node reads how large its input is, and not what is in it."""
    return node.op in ("Shape", "Size") and node.domain in (None, "")


def free_name(taken: Mapping[str, object] | Iterable[str], name: str) -> str:
    """`name`, or the first of name_1, name_2, ... that is not taken."""
    names = set(taken)
    if name not in names:
        return name
    count = 1
    while f"{name}_{count}" in names:
        count += 1
    return f"{name}_{count}"


def become_sub(graph: gs.Graph, node: gs.Node, centre: NDArray[np.floating]) -> None:
    """Turn a node into one that subtracts `centre`, (C,), from its first input."""
    positions = (rank(node.inputs[0]) or 2) - 2
    name = free_name(graph.tensors(), f"{node.name}.centre")
    constant = gs.Constant(name, centre.reshape(-1, *([1] * positions)))
    node.inputs = [node.inputs[0], constant]
    node.op, node.domain, node.attrs = "Sub", None, {}


def bypass(graph: gs.Graph, node: gs.Node) -> None:
    """Take a node out: whoever read its output reads its first input.

    An output of the model keeps its name, so the node in front makes it instead; there has to be
    one, and it may not make an output of the model already.
    """
    source, target = node.inputs[0], node.outputs[0]
    node.inputs.clear()
    node.outputs.clear()
    kept, gone = source, target
    if is_output(graph, target):
        kept, gone = target, source
        _replace(source.inputs[0].outputs, gone, kept)
    for consumer in list(gone.outputs):
        _replace(consumer.inputs, gone, kept)
    del graph.nodes[next(i for i, other in enumerate(graph.nodes) if other is node)]


def _replace(tensors: MutableSequence[gs.Tensor], old: gs.Tensor, new: gs.Tensor) -> None:
    for index, tensor in enumerate(tensors):
        if tensor is old:
            tensors[index] = new
