"""Network Deconvolution's layers as PyTorch modules that train and load official checkpoints.

Parameters, buffers, constructor arguments and results are those of the layers published with
Ye et al., ICLR 2020, "Network Deconvolution". Every layer whitens blocks of F features with a
matrix D, a Newton-Schulz estimate of Cov^(-1/2), and their mean mu. A training step takes both
from its batch and keeps a running average of them, with which evaluation computes.

In what follows G counts the blocks that share one D, and (x) is the Kronecker product.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.utils import _pair

from nd_deploy.errors import InputError
from nd_deploy.nd.channel_deconv import ChannelDeconv
from nd_deploy.nd.statistics import at_least_one, average, block_size, whitening

__all__ = ["ChannelDeconv", "Delinear", "FastDeconv"]


class FastDeconv(_ConvNd):
    """A 2-D convolution of whitened patches.

    D and mu act on the weights, never on the activation. With W flattened to (O, C k^2),
        W' = W (D (x) I_G),    b' = b - W' (mu (x) 1_G),
    that is feature f of block g lies at f G + g. Grouped convolutions have one D and one mu a
    group instead, over its k^2 C / groups consecutive columns. Without a bias, b counts as 0.

    Buffers, in the dtype of the parameters:
        running_mean: (F,), or (k^2 C,) when grouped; F = k^2 block.
        running_deconv: (F, F), or (groups, F, F) when grouped.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: an int or a (height, width) pair, as are stride, padding and dilation.
        stride: of the convolution; the statistics are sampled at `stride * sampling_stride`.
        padding: zeros around the raw input.
        dilation: between the taps of the kernel.
        groups: as in `torch.nn.Conv2d`.
        bias: whether a bias is learnt; the mean is corrected for either way.
        eps: added to the diagonal of the covariance.
        n_iter: Newton-Schulz steps.
        momentum: the weight of a new batch in the running average.
        block: channels a block. Above C it becomes C, else the greatest common divisor with C;
            a grouped convolution takes C / groups whatever is given.
        sampling_stride: every how many-th patch, in height and in width, enters the statistics.
        freeze: use and keep the running statistics once `freeze_iter` training steps are done,
            until `counter` starts over after ten times as many.
        freeze_iter: see `freeze`.

    Raises:
        InputError: `block` or `freeze_iter` is below 1, or the input of forward is not 4-D.
        ValueError: the channels are no multiple of `groups`.
    """

    running_mean: Tensor
    running_deconv: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        eps: float = 1e-5,
        n_iter: int = 5,
        momentum: float = 0.1,
        block: int = 64,
        sampling_stride: int = 3,
        freeze: bool = False,
        freeze_iter: int = 100,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            _pair(kernel_size),
            _pair(stride),
            _pair(padding),
            _pair(dilation),
            False,
            _pair(0),
            groups,
            bias,
            padding_mode="zeros",
        )
        self.eps = eps
        self.n_iter = n_iter
        self.momentum = momentum
        self.block = block_size(block, in_channels) if groups == 1 else in_channels // groups
        self.num_features = math.prod(self.kernel_size) * self.block
        self.sampling_stride = tuple(sampling_stride * step for step in self.stride)
        self.freeze = freeze
        self.freeze_iter = at_least_one("freeze_iter", freeze_iter)
        # A plain attribute as in the official layer: a buffer would be one key too many.
        self.counter = 0
        self.track_running_stats = True

        identity = torch.eye(self.num_features)
        self.register_buffer("running_mean", torch.zeros(self.num_features * groups))
        self.register_buffer(
            "running_deconv", identity if groups == 1 else identity.repeat(groups, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolves x of shape (N, C, H, W); trains or uses the statistics as the mode says."""
        if x.dim() != 4:
            raise InputError(
                f"FastDeconv takes a 4-D input (N, C, H, W), not one of shape {tuple(x.shape)}",
                "add the missing axis, e.g. x.unsqueeze(0) for a single image",
            )
        mean, deconv = self.running_mean, self.running_deconv
        if self.training:
            frozen = self.freeze and self.counter > self.freeze_iter
            if self.track_running_stats:
                self.counter = (self.counter + 1) % (self.freeze_iter * 10)
            if not frozen:
                mean, deconv = self._batch_statistics(x)
                if self.track_running_stats:
                    average(self.running_mean, mean, self.momentum)
                    average(self.running_deconv, deconv, self.momentum)
        weight, shift = self._whitened_weight(mean, deconv)
        bias = -shift if self.bias is None else self.bias - shift
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        patches = self._patches(x)
        if self.groups == 1:
            shared = self.in_channels // self.block
            patches = patches.reshape(-1, self.num_features, shared).mT
            samples = patches.reshape(-1, self.num_features)
            mean = samples.mean(0)
            return mean, whitening(samples - mean, self.eps, self.n_iter)
        mean = patches.mean(0)
        samples = (patches - mean).reshape(-1, self.groups, self.num_features).transpose(0, 1)
        return mean, whitening(samples, self.eps, self.n_iter)

    def _patches(self, x: Tensor) -> Tensor:
        """Gathers sampled patches as rows: (patches, C k^2)."""
        if self.num_features > self.block:
            # _ConvNd also knows padding by name, which the constructor does not take.
            padding = cast("tuple[int, int]", self.padding)
            columns = F.unfold(x, self.kernel_size, self.dilation, padding, self.sampling_stride)
            return columns.mT.reshape(-1, columns.shape[1])
        # Pixels of 1x1 kernels are counted through the batch, not image by image: the published
        # statistics of strided layers depend on it.
        pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        return pixels[:: math.prod(self.sampling_stride)]

    def _whitened_weight(self, mean: Tensor, deconv: Tensor) -> tuple[Tensor, Tensor]:
        """Computes W' in the shape of the weight, and W' mu of shape (O,)."""
        if self.groups == 1:
            shared = self.in_channels // self.block
            w = self.weight.reshape(-1, self.num_features, shared).mT @ deconv
            return w.mT.reshape(self.weight.shape), (w @ mean).sum(1)
        w = self.weight.reshape(self.groups, -1, self.num_features) @ deconv
        shift = w @ mean.reshape(self.groups, self.num_features, 1)
        return w.reshape(self.weight.shape), shift.reshape(-1)

    def extra_repr(self) -> str:
        """Adds what the convolution's own text leaves out."""
        convolution = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{convolution}, block={self.block}, n_iter={self.n_iter}, eps={self.eps}"


class Delinear(nn.Module):
    """A linear layer of whitened inputs.

    D and mu act on the weights: W' = W (I_G (x) D) and b' = b - W' (1_G (x) mu). Blocks are
    consecutive features here, unlike in the other layers. Without a bias, b counts as 0.

    Buffers, in the dtype of the parameters:
        running_mean: (block,).
        running_deconv: (block, block).

    Args:
        in_features: the size of the last axis of the input, which may have any leading axes.
        out_features: the size of the last axis of the output.
        bias: whether a bias is learnt; the mean is corrected for either way.
        eps: added to the diagonal of the covariance.
        n_iter: Newton-Schulz steps.
        momentum: the weight of a new batch in the running average.
        block: features a block. Above `in_features` it becomes that, else the greatest common
            divisor of both.

    Raises:
        InputError: `block` is below 1.
    """

    running_mean: Tensor
    running_deconv: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        eps: float = 1e-5,
        n_iter: int = 5,
        momentum: float = 0.1,
        block: int = 512,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.eps = eps
        self.n_iter = n_iter
        self.momentum = momentum
        self.block = block_size(block, in_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.register_buffer("running_mean", torch.zeros(self.block))
        self.register_buffer("running_deconv", torch.eye(self.block))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias as `torch.nn.Linear` does: uniform in +-1/sqrt(in_features)."""
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x of shape (..., in_features) to (..., out_features)."""
        mean, deconv = self.running_mean, self.running_deconv
        if self.training:
            samples = x.reshape(-1, self.block)
            mean = samples.mean(0)
            deconv = whitening(samples - mean, self.eps, self.n_iter)
            average(self.running_mean, mean, self.momentum)
            average(self.running_deconv, deconv, self.momentum)
        w = self.weight.reshape(self.out_features, -1, self.block) @ deconv
        shift = (w @ mean).sum(1)
        bias = -shift if self.bias is None else self.bias - shift
        return F.linear(x, w.reshape(self.weight.shape), bias)

    def extra_repr(self) -> str:
        """Names the sizes, as `torch.nn.Linear` does, and the block."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, block={self.block}, n_iter={self.n_iter}"
        )
