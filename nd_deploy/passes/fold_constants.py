"""Nodes that read parameters alone -> what they compute, in float64.

A network that transposes, normalises or scales a weight in its forward leaves nodes that compute
the same on every call, and a weight that no fold can read. Exporters fold them in the parameters'
dtype; computing them in float64 instead keeps the whole way to the stored model exact.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from nd_deploy.errors import BackendError, GraphError
from nd_deploy.passes.base import PassResult, Refusal
from nd_deploy.passes.graph import is_output
from nd_deploy.runtime.reference import ReferenceRunner

# A parameter that is repeated many times over is better left to be repeated at run time.
_LARGEST_GROWTH = 4
_SMALL = 2**16
_KINDS = (np.float32, np.float64, np.int32, np.int64, np.bool_)


class FoldConstants:
    """Replace every node whose inputs are all constant by its outputs."""

    name = "fold_constants"

    def __call__(self, graph: gs.Graph) -> PassResult:
        """Rewrite `graph` in place."""
        refusals: list[tuple[str, Refusal]] = []
        for node in list(graph.nodes):
            if not _is_constant(graph, node):
                continue
            values = _compute(graph, node)
            if isinstance(values, Refusal):
                refusals.append((node.name, values))
                continue
            outputs = list(node.outputs)
            node.outputs.clear()
            for tensor, value in zip(outputs, values, strict=True):
                tensor.to_constant(value)
        graph.cleanup(remove_unused_graph_inputs=False)
        return PassResult(self.name, refusals=refusals)


def _is_constant(graph: gs.Graph, node: gs.Node) -> bool:
    return (
        node.domain in (None, "")
        and bool(node.inputs)
        and all(isinstance(x, gs.Constant) and x.dtype in _KINDS for x in node.inputs)
        and not any(isinstance(value, gs.Graph) for value in node.attrs.values())
        and not any(is_output(graph, tensor) for tensor in node.outputs)
        and not node.op.startswith("Random")
        and node.op not in ("Bernoulli", "Multinomial", "DequantizeLinear", "QuantizeLinear")
    )


def _compute(graph: gs.Graph, node: gs.Node) -> list[NDArray[np.generic]] | Refusal:
    inputs = {tensor.name: tensor.values for tensor in node.inputs}
    ports = {name: gs.Variable(name, values.dtype, values.shape) for name, values in inputs.items()}
    outputs = [gs.Variable(tensor.name, np.float64) for tensor in node.outputs]
    alone = gs.Node(
        node.op,
        node.name,
        dict(node.attrs),
        [ports[tensor.name] for tensor in node.inputs],
        outputs,
    )
    model = gs.export_onnx(
        gs.Graph([alone], list(ports.values()), outputs, opset=graph.opset), do_type_check=False
    )
    try:
        values = list(ReferenceRunner(model).run(inputs).values())
    except (GraphError, BackendError) as error:
        return Refusal(error.problem)
    largest = max(values.size for values in inputs.values())
    if any(value.size > max(_SMALL, _LARGEST_GROWTH * largest) for value in values):
        return Refusal(f"{node.op} {node.name} makes much out of little")
    return values
