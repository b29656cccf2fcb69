"""NDFastDeconv -> Conv with other weights.

A FastDeconv whitens the patches that its convolution reads, zero padding included:

    W D (patch - mu) + b = (W D) patch + (b - W D mu)

which is a convolution with W' = W D and b' = b - W' mu at every position, the border included, for
any stride, padding, dilation and groups. The graph around the node plays no part. ND++'s transposed
convolution whitens the patches that it adds up, and folds into itself likewise.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from nd_deploy.fold.algebra import (
    Array,
    fold_fast_deconv,
    fold_fast_deconv_transpose,
    invert,
)
from nd_deploy.fold.certificate import certify
from nd_deploy.nd.dialect import FAST_DECONV, FAST_DECONV_TRANSPOSE
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.graph import parameters, write_parameter

_BECOMES = {
    FAST_DECONV: ("Conv", fold_fast_deconv),
    FAST_DECONV_TRANSPOSE: ("ConvTranspose", fold_fast_deconv_transpose),
}


class FoldFastDeconv(NodePass):
    """Fold every NDFastDeconv whose parameters are constant into one Conv."""

    name = "fold_fast_deconv"
    op_types = tuple(_BECOMES)

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Fold one node."""
        values = parameters(node)
        if isinstance(values, Refusal):
            return values
        weight, bias, mean, deconv = values
        groups, features = deconv.size // deconv.shape[-1] ** 2, deconv.shape[-1]
        if weight[0].size % features or weight.shape[0] % groups:
            return Refusal(
                f"weight {weight.shape} does not split into {groups} groups of {features} features"
            )
        op_type = node.op
        becomes, fold = _BECOMES[op_type]
        folded_weight, folded_bias = fold(weight, bias, mean, deconv)
        inverse, nothing = invert(deconv), np.zeros_like(mean)

        def unfold(rounding: Array) -> Array:
            return fold(rounding, None, nothing, inverse)[0]

        certificate = certify(weight, folded_weight, deconv, unfold, groups == 1)
        write_parameter(graph, node, 1, folded_weight)
        write_parameter(graph, node, 2, folded_bias)
        node.inputs = list(node.inputs)[:3]
        node.op, node.domain = becomes, None
        return Decision(
            node.name,
            op_type,
            Action.FOLDED,
            "D whitens the patches of the convolution, so it folds into the weight",
            self.name,
            (node.name,),
            (certificate,),
        )
