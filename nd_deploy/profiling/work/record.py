"""What a network has to compute and to move, as facts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerWork:
    """A node, and what is fused into it.

    Attributes:
        name: of its first node. Those of a function's body begin with the name of the node that
            the body stands for, and a slash: "conv1.statistics/moment".
        op: the op types that run there, such as "Conv + Relu".
        nd_layers: the ND layers of the network that it computes or holds.
        flops: floating point operations of one run.
        bytes: moved to and from memory in one run.
        dtype: numpy's name of the dtype that its first node gives.
        nodes: the names of all its nodes.
    """

    name: str
    op: str
    nd_layers: tuple[str, ...]
    flops: float
    bytes: float
    dtype: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class NetworkWork:
    """A network at fixed input shapes.

    Attributes:
        layers: in the order of the graph.
        unknown: the names of nodes that are not counted, because their shapes, how often they run
            or what their op computes cannot be told; the sums are too small by them.
    """

    layers: tuple[LayerWork, ...]
    unknown: tuple[str, ...] = ()

    @property
    def flops(self) -> float:
        """Floating point operations of one run."""
        return sum(layer.flops for layer in self.layers)

    @property
    def bytes(self) -> float:
        """Moved to and from memory in one run."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def dtype(self) -> str:
        """The dtype that most of the operations give; "float32" if there are none."""
        by_dtype: Counter[str] = Counter()
        for layer in self.layers:
            by_dtype[layer.dtype] += int(layer.flops)
        return max(by_dtype, key=by_dtype.__getitem__) if by_dtype.total() else "float32"
