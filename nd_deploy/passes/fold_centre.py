"""NDCentre into the biases around it.

An NDCentre subtracts a number from each channel. The FastDeconv of 2019 does so before its zero
padding, and an affine map behind D ends in one. Both ways leave nothing in the graph:

* forward: W (x - m) + b = W x + (b - W m), where the layers that are reached read no zero padding;
* backward: (W x + b) - m has the bias b - m, where nothing else reads what the producer computes.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from nd_deploy.fold.channels import fold_shift_forward
from nd_deploy.nd.dialect import CENTRE
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.graph import bypass, parameters
from nd_deploy.passes.linear import Linear, read_producer
from nd_deploy.passes.reach import UNPADDED, Channels, Sink, by_layer, reach


class FoldCentre(NodePass):
    """Fold every NDCentre that has a linear layer within reach."""

    name = "fold_centre"
    op_types = (CENTRE,)

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Fold one node the first way that applies."""
        values = parameters(node)
        if isinstance(values, Refusal):
            return values
        shift = -values[0].astype(np.float64)
        producer = read_producer(graph, node.inputs[0])
        if isinstance(producer, Linear):
            bias = shift if producer.bias is None else producer.bias + shift
            producer.write(graph, producer.weight, bias)
            bypass(graph, node)
            return Decision(
                node.name,
                CENTRE,
                Action.BACKWARD,
                producer.sole_reason,
                self.name,
                (producer.node.name,),
            )
        sinks = reach(graph, node.outputs[0], Channels(0, shift.size))
        if isinstance(sinks, Refusal):
            return Refusal(f"forward: {sinks.reason}; backward: {producer.reason}")
        padded = [sink.linear.node.name for sink in sinks if sink.linear.zero_padded]
        if padded:
            return Refusal(f"Conv {padded[0]} pads with zeros what is centred")
        return self._forward(graph, node, shift, sinks)

    def _forward(
        self, graph: gs.Graph, node: gs.Node, shift: np.ndarray, sinks: list[Sink]
    ) -> Decision:
        layers = by_layer(sinks)
        for linear, windows in layers:
            bias = linear.bias
            for at in windows:
                bias = fold_shift_forward(linear.weight, bias, shift, at.start, at.inner)
            linear.write(graph, linear.weight, bias)
        bypass(graph, node)
        return Decision(
            node.name,
            CENTRE,
            Action.FORWARD,
            UNPADDED,
            self.name,
            tuple(linear.node.name for linear, _ in layers),
        )
