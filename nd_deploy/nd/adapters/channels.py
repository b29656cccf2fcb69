"""Stand-ins for layers that act on the channels of each position."""

from __future__ import annotations

import torch
from torch import Tensor

from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.nd import dialect
from nd_deploy.nd.adapters.base import Adapter


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


class ScaledChannelDeconvAdapter(Adapter):
    """Stands in for a ChannelDeconv whose outputs are scaled, each channel by its own number.

    The scale differs within a block, so what is traced is one block of all channels.

    Args:
        whitening: the layer without the scale.
        scale: one entry a channel.
    """

    mean: Tensor
    deconv: Tensor

    def __init__(self, whitening: ChannelDeconvAdapter, scale: Tensor) -> None:
        super().__init__()
        channels, block = scale.numel(), whitening.deconv.shape[0]
        groups = channels // block
        whitened = groups * block
        matrix = torch.zeros(channels, channels, dtype=torch.float64)
        matrix[:whitened, :whitened] = torch.kron(
            whitening.deconv.double(), torch.eye(groups, dtype=torch.float64)
        )
        matrix.diagonal()[whitened:] = whitening.leftover_scale.double()
        tail = whitening.leftover_mean.repeat(channels - whitened)
        self.register_buffer("mean", torch.cat([whitening.mean.repeat_interleave(groups), tail]))
        # Float64 even in a float32 network: it is computed here, and rounded when it is stored.
        self.register_buffer("deconv", scale.double().view(-1, 1) * matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, ...) to one NDChannelDeconv."""
        return self.emit(dialect.CHANNEL_DECONV, (x, self.mean, self.deconv), x.shape)


class CentreAdapter(Adapter):
    """Stands in for the subtraction of one number from each channel.

    Args:
        mean: (C,).
    """

    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, ...) to one NDCentre."""
        return self.emit(dialect.CENTRE, (x, self.mean), x.shape)
