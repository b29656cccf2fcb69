"""What all adapters share, and how one layer becomes several nodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nd_deploy.nd import dialect


class Adapter(nn.Module):
    """A stand-in for a layer, which traces to one dialect node.

    Attributes:
        layer: the path in the network that the node is named after; it travels as a string
            attribute of the node.
    """

    layer: str = ""

    def name_after(self, path: str) -> None:
        """Set what the node is called."""
        self.layer = path

    def emit(
        self,
        op: str,
        inputs: Sequence[Tensor],
        shape: Sequence[int | torch.SymInt],
        **attributes: float | list[int],
    ) -> Tensor:
        """Put one dialect node into the graph that is being traced."""
        output: Tensor = torch.onnx.ops.symbolic(
            f"{dialect.DOMAIN}::{op}",
            inputs,
            {"layer": self.layer, **attributes},
            dtype=inputs[0].dtype,
            shape=shape,
            version=dialect.VERSION,
        )
        return output


class WeightAdapter(Adapter):
    """A stand-in for a layer that whitens what its own weight reads.

    Args:
        weight: (O, ...).
        bias: (O,) or None.
        mean: running mean.
        deconv: running D.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deconv: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, mean: Tensor, deconv: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        # Zeros for none: an ONNX function has no optional inputs.
        zeros = weight.new_zeros(weight.shape[0])
        self.register_buffer("bias", zeros if bias is None else bias.detach())
        self.register_buffer("mean", mean)
        self.register_buffer("deconv", deconv)

    @property
    def parameters_of_node(self) -> tuple[Tensor, ...]:
        """What the node reads behind its input."""
        return (self.weight, self.bias, self.mean, self.deconv)


class Chain(nn.Module):
    """A stand-in of several nodes in a row, the last of which computes the layer's output.

    Args:
        name: what the nodes of `first` are called, behind the layer's path.
        first: computes what `last` reads; an adapter, or a module of standard ops.
        last: carries the layer's own path.
    """

    def __init__(self, name: str, first: nn.Module, last: Adapter | Chain) -> None:
        super().__init__()
        self.name, self.first, self.last = name, first, last

    def name_after(self, path: str) -> None:
        """Set what the nodes are called."""
        if isinstance(self.first, (Adapter, Chain)):
            self.first.name_after(f"{path}.{self.name}" if path else self.name)
        self.last.name_after(path)

    def forward(self, x: Tensor) -> Tensor:
        """Trace one after the other."""
        y: Tensor = self.last(self.first(x))
        return y
