"""NDChannelDeconv -> the same node for the TensorRT plugin, with the activation behind it in it.

The alternative to `nd_deploy.passes.lower_channel_deconv`, where one matrix of a block's size, read
by a kernel of its own, is to do the work of a dense 1x1 convolution. The node keeps its function
body for runtimes without the plugin.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.nd.dialect import WITH_RELU
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.channel_map import CHANNEL_DECONV_OPS, read_channel_map
from nd_deploy.passes.graph import bypass, is_output


class LeaveToPlugin(NodePass):
    """Leave every ChannelDeconv that no other layer has taken to the plugin."""

    name = "leave_to_plugin"
    op_types = CHANNEL_DECONV_OPS

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Leave one node, and take the activation behind it into it."""
        channel_map = read_channel_map(node)
        if isinstance(channel_map, Refusal):
            return channel_map
        op_type, reason = node.op, "no linear layer is within reach"
        activation = _sole_activation(graph, node)
        if activation is not None:
            reason += f"; it takes the activation {activation.name} along"
            node.op = WITH_RELU[op_type]
            bypass(graph, activation)
        return Decision(node.name, op_type, Action.PLUGIN, reason, self.name, (node.name,))


def _sole_activation(graph: gs.Graph, node: gs.Node) -> gs.Node | None:
    """The Relu that alone reads the node's output, if there is one."""
    output = node.outputs[0]
    if is_output(graph, output) or len(output.outputs) != 1:
        return None
    reader = output.outputs[0]
    return reader if reader.op == "Relu" and reader.domain in (None, "") else None
