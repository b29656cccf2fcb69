"""Stand-ins for layers that whiten with the statistics of the batch at hand.

A layer with a weight becomes a dialect node that computes the weight and bias to use, and the
ordinary convolution or product that uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nd_deploy.nd import dialect
from nd_deploy.nd.adapters.base import Adapter
from nd_deploy.nd.ops.dynamic import (
    CHANNEL_DECONV_DYNAMIC,
    DELINEAR_DYNAMIC,
    FAST_DECONV_DYNAMIC,
)


class _FoldingAdapter(Adapter):
    """A stand-in that computes its weight and bias at run time.

    Args:
        weight: (O, ...).
        bias: (O,) or None.
        n_iter: Newton-Schulz steps.
        eps: added to the diagonal of the covariance.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, n_iter: int, eps: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        # Zeros for none: an ONNX function has no optional inputs.
        zeros = weight.new_zeros(weight.shape[0])
        self.register_buffer("bias", zeros if bias is None else bias.detach())
        self.n_iter, self.eps = n_iter, eps

    def fold(self, op: str, x: Tensor, **attributes: int | list[int]) -> tuple[Tensor, Tensor]:
        """Put the node into the graph that is being traced that gives weight and bias."""
        values: dict[str, Any] = {
            "layer": self.layer,
            "n_iter": self.n_iter,
            "eps": self.eps,
            **attributes,
        }
        weight, bias = torch.onnx.ops.symbolic_multi_out(
            f"{dialect.DOMAIN}::{op}",
            (x, self.weight, self.bias),
            values,
            dtypes=(x.dtype, x.dtype),
            shapes=(self.weight.shape, self.bias.shape),
            version=dialect.VERSION,
        )
        return weight, bias


class FastDeconvDynamicAdapter(_FoldingAdapter):
    """Stands in for a 2-D convolution whose patches are whitened.

    Args:
        weight: (O, C / groups, kh, kw).
        bias: (O,) or None.
        n_iter: Newton-Schulz steps.
        eps: added to the diagonal of the covariance.
        stride: one int a spatial axis, as are the three below.
        padding: zeros added on both sides.
        dilation: distance of the kernel's taps.
        sampling: distance of the patches in the statistics.
        groups: as of a convolution.
        block: channels a block.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        n_iter: int,
        eps: float,
        *,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        sampling: Sequence[int],
        groups: int,
        block: int,
    ) -> None:
        super().__init__(weight, bias, n_iter, eps)
        self.stride, self.padding, self.dilation = list(stride), list(padding), list(dilation)
        self.sampling = list(sampling)
        self.groups, self.block = groups, block

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, H, W) to one NDFastDeconvDynamic and one Conv."""
        weight, bias = self.fold(
            FAST_DECONV_DYNAMIC,
            x,
            kernel_shape=list(self.weight.shape[2:]),
            pads=self.padding * 2,
            dilations=self.dilation,
            sampling_strides=self.sampling,
            group=self.groups,
            block=self.block,
        )
        return nn.functional.conv2d(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )


class DelinearDynamicAdapter(_FoldingAdapter):
    """Stands in for a linear layer whose features are whitened.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        n_iter: Newton-Schulz steps.
        eps: added to the diagonal of the covariance.
        block: features a block.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, n_iter: int, eps: float, *, block: int
    ) -> None:
        super().__init__(weight, bias, n_iter, eps)
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Trace (..., I) to one NDDelinearDynamic and one Gemm, or MatMul and Add."""
        weight, bias = self.fold(DELINEAR_DYNAMIC, x, block=self.block)
        return nn.functional.linear(x, weight, bias)


class ChannelDeconvDynamicAdapter(Adapter):
    """Stands in for a layer that whitens channels, any number of them.

    Args:
        block: channels a block.
        n_iter: Newton-Schulz steps.
        eps: added to the diagonal of the second moment and to the variance.
        sampling: its square is how many values there are to one in the statistics.
    """

    def __init__(self, block: int, n_iter: int, eps: float, sampling: int) -> None:
        super().__init__()
        self.block, self.n_iter, self.eps, self.sampling = block, n_iter, eps, sampling

    def forward(self, x: Tensor) -> Tensor:
        """Trace (N, C, H, W) or (N, C) to one NDChannelDeconvDynamic."""
        return self.emit(
            CHANNEL_DECONV_DYNAMIC,
            (x,),
            x.shape,
            block=self.block,
            n_iter=self.n_iter,
            sampling_stride=self.sampling,
            eps=self.eps,
        )
