"""Which linear layers a tensor reaches through operations that leave its channels apart.

An affine map of the channels, y = M (x - m) at every position, commutes with an operation that
averages or picks positions with weights that sum to one, and treats every channel alike: average
pooling without counted padding, interpolation, flattening, concatenation. It does not commute with
activations, maxima, or sums with other branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from nd_deploy.passes.base import Refusal
from nd_deploy.passes.graph import is_output, rank, reads_size_only, static_dim
from nd_deploy.passes.linear import LINEAR_OPS, Linear, read_linear


@dataclass(frozen=True)
class Channels:
    """Where the whitened channels lie on axis 1 of a tensor.

    Attributes:
        start: entries on axis 1 before the first of them.
        count: how many channels there are.
        inner: consecutive entries of axis 1 that belong to one channel, more than 1 once spatial
            positions have been flattened into the axis.
    """

    start: int
    count: int
    inner: int = 1


@dataclass(frozen=True)
class Sink:
    """A linear layer that reads the channels, and where."""

    linear: Linear
    channels: Channels


UNPADDED = "every layer that reads it is linear and reads no zero padding"
"""Why what commutes with everything on its way may be folded forward whole."""


def by_layer(sinks: Sequence[Sink]) -> list[tuple[Linear, list[Channels]]]:
    """Each linear layer once, with every window of its inputs that the channels reach."""
    layers: dict[int, tuple[Linear, list[Channels]]] = {}
    for sink in sinks:
        layers.setdefault(id(sink.linear.node), (sink.linear, []))[1].append(sink.channels)
    return list(layers.values())


def reach(graph: gs.Graph, tensor: gs.Tensor, channels: Channels) -> list[Sink] | Refusal:
    """Follow `tensor` to the linear layers that read it.

    Args:
        graph: the graph.
        tensor: carries the channels.
        channels: where on its axis 1.

    Returns:
        Every linear layer that is reached; a refusal if any way ends in something else, since all
        that read the tensor's values have to be rewritten together.
    """
    if is_output(graph, tensor):
        return Refusal(f"{tensor.name} is an output of the model")
    if not tensor.outputs:
        return Refusal(f"nothing reads {tensor.name}")
    sinks: list[Sink] = []
    for consumer in _distinct(tensor.outputs):
        found = _through(graph, consumer, tensor, channels)
        if isinstance(found, Refusal):
            return found
        sinks.extend(found)
    return sinks


def _through(
    graph: gs.Graph, node: gs.Node, tensor: gs.Tensor, channels: Channels
) -> list[Sink] | Refusal:
    if not any(node is other for other in graph.nodes):
        return Refusal(f"{node.op} {node.name} reads the tensor inside a subgraph")
    if reads_size_only(node):
        return []
    if sum(t is tensor for t in node.inputs) > 1:
        return Refusal(f"{node.op} {node.name} reads the tensor twice")
    if node.op in LINEAR_OPS:
        return _sink(graph, node, tensor, channels)
    rule = _RULES.get(node.op) if node.domain in (None, "") else None
    if rule is None:
        return Refusal(f"{node.op} {node.name} does not commute with mixing channels")
    if tensor is not node.inputs[0] and node.op != "Concat":
        return Refusal(f"{node.op} {node.name} reads the tensor as a parameter")
    moved = rule(node, tensor, channels)
    if isinstance(moved, Refusal):
        return moved
    return reach(graph, node.outputs[0], moved)


def _sink(
    graph: gs.Graph, node: gs.Node, tensor: gs.Tensor, channels: Channels
) -> list[Sink] | Refusal:
    if tensor is not node.inputs[0]:
        return Refusal(f"{node.op} {node.name} reads the tensor as its weight")
    linear = read_linear(graph, node)
    if isinstance(linear, Refusal):
        return Refusal(f"{node.op} {node.name}: {linear.reason}")
    if linear.groups > 1:
        return Refusal(f"{node.op} {node.name} has groups, and D mixes channels across them")
    if node.op == "MatMul" and rank(tensor) != 2:
        return Refusal(f"MatMul {node.name} does not contract the channel axis")
    end = channels.start + channels.count * channels.inner
    if linear.weight.shape[1] < end:
        return Refusal(f"{node.op} {node.name} reads {linear.weight.shape[1]} channels, not {end}")
    return [Sink(linear, channels)]


def _unchanged(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    return channels


def _average_pool(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    padded = any(node.attrs.get("pads", ())) or node.attrs.get("auto_pad", "NOTSET") in (
        "SAME_UPPER",
        "SAME_LOWER",
    )
    counted = bool(node.attrs.get("count_include_pad", 0))
    if counted and (padded or node.attrs.get("ceil_mode", 0)):
        return Refusal(f"AveragePool {node.name} counts padding in its averages")
    return channels


def _reduce_mean(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    axes = _axes(node, tensor)
    if axes is None or not axes or min(axes) < 2:
        return Refusal(f"ReduceMean {node.name} averages over more than positions")
    return channels


def _slice(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    ndim = rank(tensor)
    if not isinstance(axes, gs.Constant) or ndim is None:
        return Refusal(f"Slice {node.name} names no constant axes")
    if any(int(axis) % ndim < 2 for axis in np.atleast_1d(axes.values)):
        return Refusal(f"Slice {node.name} cuts axis 0 or 1")
    return channels


def _squeeze(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    axes = _axes(node, tensor)
    if axes is None or not axes or min(axes) < 2:
        return Refusal(f"{node.op} {node.name} changes axes 0 or 1")
    return channels


def _axes(node: gs.Node, tensor: gs.Tensor) -> list[int] | None:
    """The axes that a node names, counted from the front; None where they are not constant."""
    given: Sequence[int] | None = node.attrs.get("axes")
    if given is None and len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant):
        given = np.atleast_1d(node.inputs[1].values).tolist()
    ndim = rank(node.outputs[0]) if node.op == "Unsqueeze" else rank(tensor)
    if given is None or ndim is None:
        return None
    return [int(axis) % ndim for axis in given]


def _reshape(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    """(N, K, rest...) to (N, K m, rest / m...): positions become part of axis 1, in order."""
    output = node.outputs[0]
    if rank(tensor) is None or rank(output) is None or not _keeps_batch(node, tensor):
        return Refusal(f"{node.op} {node.name} may move samples, as far as the shapes tell")
    old, new = static_dim(tensor, 1), static_dim(output, 1)
    if old is None or new is None:
        return Refusal(f"{node.op} {node.name} has a dynamic number of channels")
    if new % old:
        return Refusal(f"{node.op} {node.name} splits the channel axis")
    merged = new // old
    return Channels(channels.start * merged, channels.count, channels.inner * merged)


def _keeps_batch(node: gs.Node, tensor: gs.Tensor) -> bool:
    if node.op == "Flatten":
        return int(node.attrs.get("axis", 1)) in (1, 1 - len(tensor.shape))
    if len(node.inputs) < 2 or not isinstance(node.inputs[1], gs.Constant):
        return False
    target = [int(size) for size in node.inputs[1].values]
    rest = list(tensor.shape[1:])
    if not all(isinstance(size, (int, np.integer)) for size in rest):
        return False
    if any(size < 1 for size in target[1:]):
        # One size is inferred or copied: the batch is kept if it is named or copied itself.
        copied = target[0] == 0 and not node.attrs.get("allowzero", 0)
        return copied or target[0] == static_dim(tensor, 0)
    return int(np.prod(target[1:])) == int(np.prod(rest))


def _concat(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    ndim = rank(tensor)
    if ndim is None or int(node.attrs["axis"]) % ndim != 1:
        return Refusal(f"Concat {node.name} does not join channels")
    before = 0
    for other in node.inputs:
        if other is tensor:
            return replace(channels, start=channels.start + before)
        size = static_dim(other, 1)
        if size is None:
            return Refusal(f"Concat {node.name} joins {other.name} of unknown width")
        before += size
    raise AssertionError(f"{tensor.name} is no input of {node.name}")


def _resize(node: gs.Node, tensor: gs.Tensor, channels: Channels) -> Channels | Refusal:
    crops = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crops or node.attrs.get("mode", "nearest") not in ("nearest", "linear"):
        return Refusal(f"Resize {node.name} does not interpolate with weights that sum to one")
    width = static_dim(tensor, 1)
    if width is None or static_dim(node.outputs[0], 1) != width:
        return Refusal(f"Resize {node.name} changes the channel axis")
    return channels


# Identity and Dropout are missing: `cleanup` removes them where they do nothing.
_RULES: dict[str, Callable[[gs.Node, gs.Tensor, Channels], Channels | Refusal]] = {
    "AveragePool": _average_pool,
    "Concat": _concat,
    "Flatten": _reshape,
    "GlobalAveragePool": _unchanged,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
}


def _distinct(nodes: Sequence[gs.Node]) -> list[gs.Node]:
    return list({id(node): node for node in nodes}.values())
