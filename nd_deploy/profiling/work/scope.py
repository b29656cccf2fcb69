"""What is known of the tensors of a graph whose inputs have fixed shapes.

There a shape that the model computes is a constant, however long the way to it: constants that are
small are evaluated as they come, and handed to onnx's shape inference.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import defs, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from nd_deploy.profiling.work.tensors import Tensor, tensor_of, type_of

# Elements of what a shape may follow from, such as the rows at which patches of an image begin.
_SMALL = 4096
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform")
_READS_SIZE = ("Shape", "Size")


def values_read(node: onnx.NodeProto) -> tuple[str, ...]:
    """The inputs of which a node reads the values, and not the sizes or the types alone."""
    if node.domain == "" and node.op_type in _READS_SIZE:
        return ()
    return tuple(node.input[:1] if node.op_type == "CastLike" else node.input)


@dataclass
class Scope:
    """What is known of the tensors that the nodes of a graph see.

    Attributes:
        opsets: versions by domain.
        types: by name, some with sizes left open.
        values: of small constants, by name.
        constants: the names of tensors that depend on the values of no input.
    """

    opsets: dict[str, int]
    types: MutableMapping[str, onnx.TypeProto] = field(default_factory=dict)
    values: MutableMapping[str, NDArray[Any]] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)

    def inside(self) -> Scope:
        """The scope of a subgraph, which sees what is around it."""
        types, values = ChainMap({}, self.types), ChainMap({}, self.values)
        return Scope(self.opsets, types, values, set(self.constants))

    def tensors(self, names: Iterable[str]) -> tuple[Tensor | None, ...]:
        """The tensors of these names; None where one is left out or not wholly known."""
        return tuple(tensor_of(self.types.get(name)) for name in names)

    def are_constant(self, names: Iterable[str]) -> bool:
        """Whether none of these tensors depends on an input."""
        return all(not name or name in self.constants for name in names)

    def add_initializers(self, graph: onnx.GraphProto) -> None:
        """Take in a graph's weights."""
        for tensor in graph.initializer:
            self.types[tensor.name] = type_of(Tensor(tuple(tensor.dims), tensor.data_type))
            self.constants.add(tensor.name)
            if math.prod(tensor.dims) <= _SMALL and _has_values(tensor):
                self.values[tensor.name] = numpy_helper.to_array(tensor)

    def add_outputs(self, node: onnx.NodeProto) -> None:
        """Take in what a node without subgraphs gives, as far as it can be told."""
        self.types.update(_infer(node, self))
        if self._gives_constants(node):
            self.constants.update(node.output)
            self._evaluate(node)

    def _gives_constants(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _READS_SIZE:
            return None not in self.tensors(node.input)
        return not node.op_type.startswith(_RANDOM) and self.are_constant(values_read(node))

    def _evaluate(self, node: onnx.NodeProto) -> None:
        outputs = self.tensors(node.output)
        if any(tensor is None or tensor.size > _SMALL for tensor in outputs):
            return
        feeds = {name: self._value(node, name) for name in node.input if name}
        if all(value is not None for value in feeds.values()):
            self.values.update(_run(node, feeds, self.opsets))

    def _value(self, node: onnx.NodeProto, name: str) -> NDArray[Any] | None:
        tensor = tensor_of(self.types.get(name))
        if name in values_read(node) or tensor is None:
            return self.values.get(name)
        return np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)


def _has_values(tensor: onnx.TensorProto) -> bool:
    stored = {descriptor.name for descriptor, _ in tensor.ListFields()}
    return not math.prod(tensor.dims) or any(name.endswith("_data") for name in stored)


def _run(
    node: onnx.NodeProto, feeds: dict[str, NDArray[Any] | None], opsets: dict[str, int]
) -> dict[str, NDArray[Any]]:
    """A node's outputs by name, or nothing: what depends on them is then unknown."""
    graph = onnx.helper.make_graph(
        [node], "node", _ports(feeds), _ports(name for name in node.output if name)
    )
    try:
        results = ReferenceEvaluator(graph, opsets=opsets).run(None, feeds)
    except Exception:  # onnx's evaluator raises anything where it lacks an op
        return {}
    return dict(zip(filter(None, node.output), map(np.asarray, results), strict=True))


def _ports(names: Iterable[str]) -> list[onnx.ValueInfoProto]:
    return [onnx.ValueInfoProto(name=name) for name in names]


def _infer(node: onnx.NodeProto, scope: Scope) -> dict[str, onnx.TypeProto]:
    """The types of a node's outputs, as far as onnx can tell them."""
    inputs = [name for name in node.input if name]
    if node.domain not in scope.opsets or not all(name in scope.types for name in inputs):
        return {}
    try:
        return shape_inference.infer_node_outputs(
            defs.get_schema(node.op_type, scope.opsets[node.domain], node.domain),
            node,
            {name: scope.types[name] for name in inputs},
            {n: numpy_helper.from_array(scope.values[n], n) for n in inputs if n in scope.values},
            opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in scope.opsets.items()],
        )
    except (defs.SchemaError, shape_inference.InferenceError, onnx.checker.ValidationError):
        return {}
