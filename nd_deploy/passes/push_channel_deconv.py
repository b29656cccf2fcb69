"""NDChannelDeconv into the linear layers around it.

On the channels of one position a ChannelDeconv is y = M (x - m). In the order of what they leave in
the graph:

* forward, nothing left: W y + b = (W M) x + (b - W M m), where the layers that y reaches read no
  zero padding. Between them may stand whatever commutes with M (`nd_deploy.passes.reach`).
* backward, nothing left: M (W x + b - m) = (M W) x + M (b - m), where a convolution or linear layer
  produces the input and nothing else reads it. Exact for any padding.
* forward, one Sub left: conv0(M (x - m)) = conv0'(x - m) with W' = W M. The zeros of the padding
  are added to the centred tensor in both forms; putting m into the bias instead would be wrong at
  the border.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from nd_deploy.fold.algebra import Array
from nd_deploy.fold.certificate import Certificate, certify
from nd_deploy.fold.channels import ChannelMap, fold_backward, fold_forward, fold_matrix_forward
from nd_deploy.passes.base import Action, Decision, NodePass, Refusal
from nd_deploy.passes.channel_map import CHANNEL_DECONV_OPS, read_channel_map
from nd_deploy.passes.graph import become_sub, bypass
from nd_deploy.passes.linear import Linear, read_producer
from nd_deploy.passes.reach import UNPADDED, Channels, Sink, by_layer, reach


class PushChannelDeconv(NodePass):
    """Fold every ChannelDeconv that has a linear layer within reach."""

    name = "push_channel_deconv"
    op_types = CHANNEL_DECONV_OPS

    def place(self, graph: gs.Graph, node: gs.Node) -> Decision | Refusal:
        """Fold one node the best way that applies."""
        channel_map = read_channel_map(node)
        if isinstance(channel_map, Refusal):
            return channel_map
        sinks = reach(graph, node.outputs[0], Channels(0, channel_map.channels))
        if isinstance(sinks, list) and not any(sink.linear.zero_padded for sink in sinks):
            return self._forward(graph, node, channel_map, sinks)
        producer = _whole_producer(graph, node)
        if isinstance(producer, Linear):
            return self._backward(graph, node, channel_map, producer)
        if isinstance(sinks, list):
            return self._forward_centred(graph, node, channel_map, sinks)
        return Refusal(f"forward: {sinks.reason}; backward: {producer.reason}")

    def _forward(
        self, graph: gs.Graph, node: gs.Node, channel_map: ChannelMap, sinks: list[Sink]
    ) -> Decision:
        certificates = []
        for linear, windows in by_layer(sinks):
            weight, bias = linear.weight, linear.bias
            for at in windows:
                weight, bias = fold_forward(weight, bias, channel_map, at.start, at.inner)
            certificates.append(_certify_forward(linear.weight, weight, channel_map, windows))
            linear.write(graph, weight, bias)
        bypass(graph, node)
        into = tuple(linear.node.name for linear, _ in by_layer(sinks))
        return Decision(
            node.name, node.op, Action.FORWARD, UNPADDED, self.name, into, tuple(certificates)
        )

    def _forward_centred(
        self, graph: gs.Graph, node: gs.Node, channel_map: ChannelMap, sinks: list[Sink]
    ) -> Decision:
        certificates = []
        for linear, windows in by_layer(sinks):
            weight = linear.weight
            for at in windows:
                weight = fold_matrix_forward(weight, channel_map, at.start, at.inner)
            certificates.append(_certify_forward(linear.weight, weight, channel_map, windows))
            linear.write(graph, weight, None)
        op_type = node.op
        padded = next(sink.linear.node.name for sink in sinks if sink.linear.zero_padded)
        become_sub(graph, node, channel_map.centre())
        reason = (
            f"Conv {padded} pads with zeros, so D folds into its weight and the mean is "
            "subtracted in front of it"
        )
        into = (node.name, *(linear.node.name for linear, _ in by_layer(sinks)))
        return Decision(
            node.name, op_type, Action.CENTRED, reason, self.name, into, tuple(certificates)
        )

    def _backward(
        self, graph: gs.Graph, node: gs.Node, channel_map: ChannelMap, producer: Linear
    ) -> Decision:
        before = producer.weight
        after, bias = fold_backward(before, producer.bias, channel_map)

        inverse = channel_map.inverse()

        def unfold(rounding: Array) -> Array:
            return inverse.left(rounding)

        certificate = certify(before, after, channel_map.deconv, unfold)
        producer.write(graph, after, bias)
        bypass(graph, node)
        return Decision(
            node.name,
            node.op,
            Action.BACKWARD,
            producer.sole_reason,
            self.name,
            (producer.node.name,),
            (certificate,),
        )


def _whole_producer(graph: gs.Graph, node: gs.Node) -> Linear | Refusal:
    producer = read_producer(graph, node.inputs[0])
    if isinstance(producer, Linear) and producer.groups > 1:
        return Refusal(f"Conv {producer.node.name} has groups, and D mixes channels across them")
    return producer


def _certify_forward(
    before: Array, after: Array, channel_map: ChannelMap, windows: list[Channels]
) -> Certificate:
    inverse = channel_map.inverse()

    def unfold(rounding: Array) -> Array:
        for at in windows:
            rounding = fold_matrix_forward(rounding, inverse, at.start, at.inner)
        return rounding

    return certify(before, after, channel_map.deconv, unfold, rows_apart=True)
