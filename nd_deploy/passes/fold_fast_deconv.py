"""NDFastDeconv -> Conv with other weights.

A FastDeconv whitens the patches that its convolution reads, zero padding included:

    W D (patch - mu) + b = (W D) patch + (b - W D mu)

which is a convolution with W' = W D and b' = b - W' mu at every position, the border included, for
any stride, padding, dilation and groups. The graph around the node plays no part.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from nd_deploy.fold.algebra import Array, fold_fast_deconv, invert
from nd_deploy.fold.certificate import certify
from nd_deploy.nd.dialect import FAST_DECONV
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.graph import parameters, write_parameter


class FoldFastDeconv(NodePass):
    """Fold every NDFastDeconv whose parameters are constant into one Conv."""

    name = "fold_fast_deconv"
    op_types = (FAST_DECONV,)

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Fold one node."""
        values = parameters(node)
        if isinstance(values, Refusal):
            return values
        weight, bias, mean, deconv = values
        groups, features, _ = deconv.shape
        if weight[0].size % features or weight.shape[0] % groups:
            return Refusal(
                f"weight {weight.shape} does not split into {groups} groups of {features} features"
            )
        folded_weight, folded_bias = fold_fast_deconv(weight, bias, mean, deconv)
        inverse, nothing = invert(deconv), np.zeros_like(mean)

        def unfold(rounding: Array) -> Array:
            return fold_fast_deconv(rounding, None, nothing, inverse)[0]

        certificate = certify(weight, folded_weight, deconv, unfold, groups == 1)
        write_parameter(graph, node, 1, folded_weight)
        write_parameter(graph, node, 2, folded_bias)
        node.inputs = list(node.inputs)[:3]
        node.op, node.domain = "Conv", None
        return Decision(
            node.name,
            FAST_DECONV,
            Action.FOLDED,
            "D whitens the patches that the convolution reads, so it folds into the weight",
            self.name,
            (node.name,),
            (certificate,),
        )
