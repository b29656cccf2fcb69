"""Which nodes of a model compute shapes rather than values.

Those are the nodes that no input's values reach: what comes from Shape, from constants and from
weights alone. ONNX Runtime leaves many of them on the CPU beside any provider, where shapes are
needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import onnx

# (op type, name), as ONNX Runtime lists a node.
Key: TypeAlias = tuple[str, str]

_SHAPES = ("Shape", "Size")
# ONNX Runtime writes it out, as an op of another type and without a name.
_CAST_LIKE, _WRITTEN_OUT = "CastLike", "Cast"


@dataclass(frozen=True)
class ShapeNodes:
    """The nodes of a model by what they compute.

    Attributes:
        shapes: how many compute shapes, by op type and name.
        values: how many compute values.
    """

    shapes: Counter[Key]
    values: Counter[Key]

    def without(self, listed: Iterable[Key]) -> list[int]:
        """Leave out the nodes that compute shapes.

        Nodes that share a name, or have none, cannot be told from each other: as many of them pass
        as compute shapes.

        Args:
            listed: nodes as ONNX Runtime lists them.

        Returns:
            The places of those that compute values, or that nobody knows.
        """
        seen: Counter[Key] = Counter()
        left = []
        for place, key in enumerate(listed):
            seen[key] += 1
            # What is copied into several subgraphs is listed once for each.
            copied = bool(key[1]) and not self.values[key] and self.shapes[key]
            if key[0] not in _SHAPES and not copied and seen[key] > self.shapes[key]:
                left.append(place)
        return left


def inlined_prefix(function: str) -> str:
    """What ONNX Runtime puts before the names of nodes from a function body, but for a last "_"."""
    return f"_inlfunc_{function}"


def find_shape_nodes(model: onnx.ModelProto) -> ShapeNodes:
    """Tell the nodes that compute shapes from those that compute values.

    Args:
        model: its weights may be absent.
    """
    counts: tuple[Counter[Key], Counter[Key]] = (Counter(), Counter())
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {port.name for port in model.graph.input} - weights
    for key, computes_values in _judge(model.graph.node, inputs, ""):
        counts[computes_values][key] += 1
    calls = Counter((node.domain, node.op_type) for node in model.graph.node)
    for function in model.functions:
        times = calls[(function.domain, function.name)]
        prefix = f"{inlined_prefix(function.name)}_"
        for key, computes_values in _judge(function.node, set(function.input), prefix):
            counts[computes_values][key] += times
    return ShapeNodes(*counts)


def _judge(
    nodes: Iterable[onnx.NodeProto], values: set[str], prefix: str
) -> Iterator[tuple[Key, bool]]:
    """Each node with whether it computes values; `values` grows by what those give."""
    for node in nodes:
        inner = [graph for a in node.attribute for graph in (a.g, *a.graphs)]
        read = {*_read_by(node), *(name for graph in inner for name in _read_in(graph))}
        computes_values = node.op_type not in _SHAPES and not values.isdisjoint(read)
        if computes_values:
            values.update(node.output)
        if node.op_type == _CAST_LIKE:
            yield (_WRITTEN_OUT, ""), computes_values
        else:
            name = f"{prefix}{node.name}" if node.name else ""
            yield (node.op_type, name), computes_values
        for graph in inner:
            # What a loop carries may be values from its second round on.
            carried = {port.name for port in graph.input} if computes_values else set()
            yield from _judge(graph.node, values | carried, prefix)


def _read_by(node: onnx.NodeProto) -> list[str]:
    """What a node reads the values of."""
    return list(node.input)[: 1 if node.op_type == _CAST_LIKE else None]


def _read_in(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _read_in(inner)
