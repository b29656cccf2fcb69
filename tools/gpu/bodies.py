"""The function bodies of the whitening nodes as chains of PyTorch's operators.

They are as the bodies in a model are, without the joining of leftover channels where there are
none, which would be a copy that no runtime makes.
"""

from __future__ import annotations

import math

from torch import Tensor

from nd_deploy.nd.statistics import whitening


def channel_deconv(x: Tensor, mean: Tensor, deconv: Tensor) -> Tensor:
    """The body of NDChannelDeconv.

    Args:
        x: (N, C, ...), computed in float32 and returned in its own type.
        mean: (F,), F a divisor of C.
        deconv: D, (F, F).
    """
    blocks = x.float().reshape(x.shape[0], len(mean), -1)
    return (deconv @ (blocks - mean[:, None])).to(x.dtype).reshape(x.shape)


def channel_deconv_dynamic(
    x: Tensor, block: int, eps: float, n_iter: int, sampling_stride: int
) -> Tensor:
    """The body of NDChannelDeconvDynamic.

    Args:
        x: (N, C, H, W), computed in float32 and returned in its own type.
        block: features, a divisor of C.
        eps: added to the diagonal of the second moment.
        n_iter: Newton-Schulz steps.
        sampling_stride: of the layer.
    """
    small = min(x.shape[2:]) < sampling_stride
    every = 1 if small else sampling_stride**2
    wide = x.float()
    count = math.prod(x.shape) // block
    rows = wide.transpose(0, 1).reshape(block, count)[:, ::every]
    deconv = whitening(rows.mT, eps, n_iter)
    return channel_deconv(wide, rows.mean(1), deconv).to(x.dtype)
