"""Modules that stand in for ND layers during export, each tracing to one dialect node.

They compute nothing: `torch.onnx.ops.symbolic` puts the node into the graph and says what shape
comes out. Their buffers share memory with the layer they replace.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd import dialect


class Adapter(nn.Module):
    """A stand-in for the layer at `layer`, a path in the network.

    Attributes:
        layer: set by the exporter before tracing; it travels as a string attribute of the node.
    """

    layer: str = ""

    def emit(
        self,
        op: str,
        inputs: Sequence[Tensor],
        shape: Sequence[int | torch.SymInt],
        **attributes: int | list[int],
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


class FastDeconvAdapter(Adapter):
    """Stands in for a convolution whose patches are whitened.

    Args:
        weight: (O, C / groups, *kernel).
        bias: (O,) or None.
        mean: running mean with `groups` x F entries.
        deconv: running D, (F, F) or (groups, F, F).
        stride: one int a spatial axis, as are `padding` and `dilation`.
        padding: zeros added on both sides.
        dilation: distance of the kernel's taps.
        groups: as of a convolution.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deconv: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        mean: Tensor,
        deconv: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> None:
        super().__init__()
        features = deconv.shape[-1]
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", _or_zeros(bias, weight))
        self.register_buffer("mean", mean.reshape(groups, features))
        self.register_buffer("deconv", deconv.reshape(groups, features, features))
        self.stride, self.padding, self.dilation = list(stride), list(padding), list(dilation)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, *spatial) to one NDFastDeconv."""
        kernel = list(self.weight.shape[2:])
        spatial = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(
                x.shape[2:], kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]
        return self.emit(
            dialect.FAST_DECONV,
            (x, self.weight, self.bias, self.mean, self.deconv),
            (x.shape[0], self.weight.shape[0], *spatial),
            kernel_shape=kernel,
            strides=self.stride,
            pads=self.padding * 2,
            dilations=self.dilation,
            group=self.groups,
        )


class DelinearAdapter(Adapter):
    """Stands in for a linear layer whose features are whitened.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        mean: running mean, (F,).
        deconv: running D, (F, F).
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deconv: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, mean: Tensor, deconv: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", _or_zeros(bias, weight))
        self.register_buffer("mean", mean)
        self.register_buffer("deconv", deconv)

    def forward(self, x: Tensor) -> Tensor:
        """Trace (..., I) to one NDDelinear."""
        return self.emit(
            dialect.DELINEAR,
            (x, self.weight, self.bias, self.mean, self.deconv),
            (*x.shape[:-1], self.weight.shape[0]),
        )


class ChannelDeconvAdapter(Adapter):
    """Stands in for a layer that whitens channels.

    How many channels there are is known only when a tensor arrives, so the choice of op is made
    then: fewer channels than the block is legal and leaves D unused, whatever it holds.

    Args:
        mean: running mean, (F,) or (F, 1).
        deconv: running D, (F, F).
        leftover_mean: mean of the leftover channels, one entry.
        leftover_var: their variance, one entry.
        eps: added to that variance.
    """

    mean: Tensor
    deconv: Tensor
    leftover_mean: Tensor
    leftover_scale: Tensor
    leftover_deconv: Tensor

    def __init__(
        self,
        mean: Tensor,
        deconv: Tensor,
        leftover_mean: Tensor,
        leftover_var: Tensor,
        eps: float,
    ) -> None:
        super().__init__()
        # Float64 even in a float32 network: it is computed here, and rounded when it is stored.
        scale = (leftover_var.double() + eps).rsqrt()
        self.register_buffer("mean", mean.reshape(-1))
        self.register_buffer("deconv", deconv)
        self.finite = bool(torch.isfinite(deconv).all())
        self.register_buffer("leftover_mean", leftover_mean.reshape(1))
        self.register_buffer("leftover_scale", scale.reshape(1))
        # A block of one channel whitened by a 1x1 D is the leftover formula.
        self.register_buffer("leftover_deconv", scale.reshape(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, ...) to one NDChannelDeconv or NDChannelDeconvLeftover."""
        channels, block = x.shape[1], self.deconv.shape[0]
        if channels < block:
            unwhitened = (x, self.leftover_mean, self.leftover_deconv)
            return self.emit(dialect.CHANNEL_DECONV, unwhitened, x.shape)
        if not self.finite:
            raise UnsupportedLayerError(
                f"layer {self.layer}: running_deconv holds NaN or Inf and {channels} channels are "
                f"whitened by it (block {block})",
                "use a checkpoint saved before training diverged",
            )
        whitened = (x, self.mean, self.deconv)
        if channels % block == 0:
            return self.emit(dialect.CHANNEL_DECONV, whitened, x.shape)
        leftover = (self.leftover_mean, self.leftover_scale)
        return self.emit(dialect.CHANNEL_DECONV_LEFTOVER, (*whitened, *leftover), x.shape)


def _or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias.detach()
