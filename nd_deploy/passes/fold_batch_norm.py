"""BatchNormalization into the convolution or linear layer in front of it.

Mixed networks keep batch normalisation beside ND, as the downsampling branches of the authors'
ImageNet ResNets do. In inference it is one scale and shift a channel, s (x - mean) + shift with
s = scale / sqrt(var + eps), so W' = s W and b' = s (b - mean) + shift, exact for any padding and
groups, where nothing else reads the layer's output.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.attributes import written_value
from nd_deploy.fold.algebra import fold_batch_norm
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.graph import bypass, parameters
from nd_deploy.passes.linear import read_producer


class FoldBatchNorm(NodePass):
    """Fold every BatchNormalization that follows a linear layer directly."""

    name = "fold_batch_norm"
    op_types = ("BatchNormalization",)

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Fold one node."""
        if node.attrs.get("training_mode", 0):
            return Refusal("it normalises with the statistics of the batch")
        statistics = parameters(node)
        if isinstance(statistics, Refusal):
            return statistics
        producer = read_producer(graph, node.inputs[0])
        if isinstance(producer, Refusal):
            return producer
        eps = written_value(node.attrs.get("epsilon", 1e-5))
        scale, shift, mean, var = statistics
        weight, bias = fold_batch_norm(producer.weight, producer.bias, scale, shift, mean, var, eps)
        producer.write(graph, weight, bias)
        bypass(graph, node)
        return Decision(
            node.name,
            node.op,
            Action.BACKWARD,
            producer.sole_reason,
            self.name,
            (producer.node.name,),
        )
