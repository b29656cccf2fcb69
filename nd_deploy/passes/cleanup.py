"""Remove what computes nothing: Identity, Dropout in inference, and whatever nobody reads.

Other passes match a node's direct neighbours, so this runs before them.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.passes.base import PassResult
from nd_deploy.passes.graph import bypass, is_output


class Cleanup:
    """Remove Identity and Dropout nodes, and dead nodes and constants; sort what stays."""

    name = "cleanup"

    def __call__(self, graph: gs.Graph) -> PassResult:
        """Rewrite `graph` in place; its inputs and the names of its outputs stay."""
        for node in list(graph.nodes):
            if node.op in ("Identity", "Dropout") and _does_nothing(graph, node):
                bypass(graph, node)
        graph.cleanup(remove_unused_graph_inputs=False).toposort()
        return PassResult(self.name)


def _does_nothing(graph: gs.Graph, node: gs.Node) -> bool:
    # An output keeps its name, so what produces it stays.
    if node.domain not in (None, "") or is_output(graph, node.outputs[0]):
        return False
    if node.op == "Identity":
        return True
    masks = node.outputs[1:]
    has_mask = any(mask.outputs or is_output(graph, mask) for mask in masks)
    training = len(node.inputs) > 2 and not (
        isinstance(node.inputs[2], gs.Constant) and not node.inputs[2].values.any()
    )
    return not has_mask and not training
