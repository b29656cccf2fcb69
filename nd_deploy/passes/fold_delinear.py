"""NDDelinear -> Gemm, or MatMul and Add where the input is not a matrix.

A Delinear whitens contiguous blocks of the features that its linear layer reads:

    W (I ⊗ D) (x - mu) + b = W' x + (b - W' mu),   W' = W (I ⊗ D)

The graph around the node plays no part.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from nd_deploy.fold.algebra import Array, fold_delinear, invert
from nd_deploy.fold.certificate import certify
from nd_deploy.nd.dialect import DELINEAR
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.graph import parameters, rank, write_parameter
from nd_deploy.passes.linear import add_bias


class FoldDelinear(NodePass):
    """Fold every NDDelinear whose parameters are constant into one linear layer."""

    name = "fold_delinear"
    op_types = (DELINEAR,)

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Fold one node."""
        values = parameters(node)
        if isinstance(values, Refusal):
            return values
        weight, bias, mean, deconv = values
        if weight.shape[1] % deconv.shape[0]:
            return Refusal(
                f"weight {weight.shape} does not split into blocks of {deconv.shape[0]} features"
            )
        folded_weight, folded_bias = fold_delinear(weight, bias, mean, deconv)
        inverse, nothing = invert(deconv), np.zeros_like(mean)

        def unfold(rounding: Array) -> Array:
            return fold_delinear(rounding, None, nothing, inverse)[0]

        certificate = certify(weight, folded_weight, deconv, unfold, rows_apart=True)
        into = _to_linear(graph, node, folded_weight, folded_bias)
        return Decision(
            node.name,
            DELINEAR,
            Action.FOLDED,
            "D whitens the features that the linear layer reads, so it folds into the weight",
            self.name,
            into,
            (certificate,),
        )


def _to_linear(graph: gs.Graph, node: gs.Node, weight: Array, bias: Array) -> tuple[str, ...]:
    node.domain = None
    if rank(node.inputs[0]) == 2:
        write_parameter(graph, node, 1, weight)
        write_parameter(graph, node, 2, bias)
        node.inputs = list(node.inputs)[:3]
        node.op, node.attrs = "Gemm", {"transB": 1}
        return (node.name,)
    write_parameter(graph, node, 1, np.ascontiguousarray(weight.T))
    node.inputs = list(node.inputs)[:2]
    node.op = "MatMul"
    add = add_bias(graph, node, bias)
    return (node.name, add.name)
