"""NDCentre -> Sub, where no bias is within reach.

The published case is the FastDeconv of 2019, which subtracts the mean before its zero padding:
a corrected bias would be wrong at the border.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.nd.dialect import CENTRE
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.graph import become_sub, parameters, rank


class LowerCentre(NodePass):
    """Turn every NDCentre that is left into one subtraction."""

    name = "lower_centre"
    op_types = (CENTRE,)

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Lower one node."""
        values, ndim = parameters(node), rank(node.inputs[0])
        if isinstance(values, Refusal):
            return values
        if ndim is None:
            return Refusal(f"{node.inputs[0].name} has an unknown number of axes")
        become_sub(graph, node, values[0])
        reason = "no bias is within reach that could hold the mean"
        return Decision(node.name, CENTRE, Action.SUBTRACTED, reason, self.name, (node.name,))
