"""NDChannelDeconv -> 1x1 Conv, or Gemm on a matrix, where no linear layer is within reach.

y = M (x - m) at every position is a 1x1 convolution with weight M and bias -M m. M is mostly zeros
(D ⊗ I_G), but a dense 1x1 convolution is native to every runtime. ImageNet DenseNet-121 has the
published case: a concatenation in front and an activation behind.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.channel_map import CHANNEL_DECONV_OPS, read_channel_map
from nd_deploy.passes.graph import free_name, rank

# A dense M beyond this many entries (256 MiB in float32) costs more than the node it replaces.
_LARGEST_MATRIX = 2**26


class LowerChannelDeconv(NodePass):
    """Turn every ChannelDeconv that is left into one native node."""

    name = "lower_channel_deconv"
    op_types = CHANNEL_DECONV_OPS

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Lower one node."""
        channel_map = read_channel_map(node)
        if isinstance(channel_map, Refusal):
            return channel_map
        ndim = rank(node.inputs[0])
        if ndim is None:
            return Refusal(f"{node.inputs[0].name} has an unknown number of axes")
        channels = channel_map.channels
        if channels**2 > _LARGEST_MATRIX:
            return Refusal(f"a dense matrix of {channels} x {channels} would be too large")
        positions = ndim - 2
        weight = channel_map.matrix().reshape(channels, channels, *([1] * positions))
        op_type, taken = node.op, graph.tensors()
        node.domain = None
        node.inputs = [
            node.inputs[0],
            gs.Constant(free_name(taken, f"{node.name}.weight"), weight),
            gs.Constant(free_name(taken, f"{node.name}.bias"), channel_map.offset()),
        ]
        if positions:
            node.op, node.attrs = "Conv", {"kernel_shape": [1] * positions}
        else:
            node.op, node.attrs = "Gemm", {"transB": 1}
        return Decision(
            node.name,
            op_type,
            Action.LOWERED,
            "no linear layer is within reach",
            self.name,
            (node.name,),
        )
