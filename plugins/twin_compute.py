"""What the plugins compute, in PyTorch: the arithmetic of their Python twins.

Whatever type x has, the arithmetic is float32 and the result is rounded to x's type once. A float64
x is computed in float64 throughout, which no plugin is given: it is for comparing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nd_deploy.errors import InputError
from nd_deploy.nd.statistics import whitening


def channel_deconv(
    x: Tensor,
    mean: Tensor,
    deconv: Tensor,
    leftover_mean: Tensor | None = None,
    leftover_scale: Tensor | None = None,
    *,
    relu: bool = False,
) -> Tensor:
    """Whiten channels with a frozen D: y = (D ⊗ I) (x - mean ⊗ 1) at every position.

    Args:
        x: (N, C, ...), any float type.
        mean: (F,).
        deconv: D, (F, F).
        leftover_mean: (1,), of the C mod F channels that fill no block; None if there are none.
        leftover_scale: (1,), what those are multiplied with.
        relu: whether negative results become zero; NaN stays NaN.

    Returns:
        A tensor of the shape and type of x.

    Raises:
        InputError: channels are left over and nothing is given for them.
    """
    features, channels = deconv.shape[0], x.shape[1]
    whole = channels - channels % features
    wide = _widened(x)
    parts = [_whitened(wide[:, :whole], mean.to(wide.dtype), deconv.to(wide.dtype))]
    if leftover_mean is not None and leftover_scale is not None:
        centred = wide[:, whole:] - leftover_mean.to(wide.dtype)
        parts.append(centred * leftover_scale.to(wide.dtype))
    elif whole < channels:
        raise InputError(
            f"{channels} channels do not split into blocks of {features}",
            "use the op with leftover channels, NDChannelDeconvLeftover",
        )
    y = torch.cat(parts, dim=1)
    return (torch.relu(y) if relu else y).to(x.dtype)


def channel_deconv_dynamic(
    x: Tensor, *, block: int, eps: float, n_iter: int, sampling_stride: int
) -> Tensor:
    """Whiten channels with the statistics of the batch itself.

    D is the inverse root of the second moment, its mean not taken off, as the layer has it. The
    C mod block channels left over share one mean and one unbiased variance.

    Args:
        x: (N, C, H, W) or (N, C), any float type.
        block: features a block.
        eps: added to the diagonal of the second moment and to the variance.
        n_iter: Newton-Schulz steps.
        sampling_stride: its square is how many values there are to one in the statistics, for
            maps that are not smaller than the stride.

    Returns:
        A tensor of the shape and type of x.

    Raises:
        InputError: the batch is empty.
    """
    wide = _widened(x)
    maps = wide if x.dim() == 4 else wide[:, :, None, None]
    every = 1 if min(maps.shape[2:]) < sampling_stride else sampling_stride**2
    channels = x.shape[1]
    whole = channels - channels % block
    parts = []
    if whole:
        rows = maps[:, :whole].transpose(0, 1).reshape(block, -1)[:, ::every]
        _require_samples(rows.shape[1])
        deconv = whitening(rows.mT, eps, n_iter)
        parts.append(_whitened(maps[:, :whole], rows.mean(1), deconv))
    if whole < channels:
        rest = maps[:, whole:]
        values = rest.reshape(rest.shape[0], math.prod(rest.shape[1:]))[:, ::every]
        _require_samples(values.numel())
        parts.append((rest - values.mean()) / (values.var() + eps).sqrt())
    return torch.cat(parts, dim=1).reshape(x.shape).to(x.dtype)


def fast_deconv_dynamic(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    pads: Sequence[int],
    dilations: Sequence[int],
    sampling_strides: Sequence[int],
    group: int,
    block: int,
    n_iter: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Fold the whitening of the batch's patches into the weights of a convolution.

    Args:
        x: (N, C, H, W), any float type.
        weight: W, (O, C / group, kh, kw).
        bias: b, (O,).
        pads: zeros around x: top, left, bottom, right.
        dilations: between the taps of the kernel, in height and in width.
        sampling_strides: between the patches that enter the statistics, in height and in width.
        group: as in Conv; each group has a D of its own.
        block: channels a block, a divisor of C; only read if there is one group.
        n_iter: Newton-Schulz steps.
        eps: added to the diagonal of the covariance.

    Returns:
        W' = W (D ⊗ I) in the shape of `weight`, and b' = b - W' mean, both in the type of x.

    Raises:
        InputError: no patch is sampled.
    """
    wide = _widened(x)
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    channels = block if group == 1 else weight.shape[1]
    features = math.prod(kernel) * channels
    if math.prod(kernel) > 1:
        rows = _patches(wide, kernel, pads, dilations, sampling_strides)
    else:
        # Pixels of 1x1 kernels are counted through the batch, not image by image.
        pixels = wide.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
        rows = pixels[:: math.prod(sampling_strides)]
    _require_samples(rows.shape[0])
    if group == 1:
        shared = x.shape[1] // block
        samples = rows.reshape(-1, features, shared).mT.reshape(1, -1, features)
        w = weight.reshape(1, -1, features, shared).mT
    else:
        samples = rows.reshape(-1, group, features).transpose(0, 1)
        w = weight.reshape(group, -1, 1, features)
    mean = samples.mean(1, keepdim=True)
    deconv = whitening(samples - mean, eps, n_iter)
    w = w.to(wide.dtype) @ deconv[:, None]
    shift = (w * mean[:, None]).sum((-2, -1)).reshape(-1)
    return w.mT.reshape(weight.shape).to(x.dtype), (bias.to(wide.dtype) - shift).to(x.dtype)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _whitened(x: Tensor, mean: Tensor, deconv: Tensor) -> Tensor:
    features = deconv.shape[0]
    # Sizes are written out: -1 is ambiguous for an empty tensor.
    columns = math.prod(x.shape[1:]) // features
    blocks = x.reshape(x.shape[0], features, columns)
    return (deconv @ (blocks - mean[:, None])).reshape(x.shape)


def _patches(
    x: Tensor,
    kernel: tuple[int, int],
    pads: Sequence[int],
    dilations: Sequence[int],
    strides: Sequence[int],
) -> Tensor:
    """Sampled patches as rows: (patches, C kh kw)."""
    top, left, bottom, right = pads
    padded = F.pad(x, (left, right, top, bottom))
    columns = F.unfold(padded, kernel, tuple(dilations), 0, tuple(strides))
    return columns.mT.reshape(-1, columns.shape[1])


def _require_samples(count: int) -> None:
    if not count:
        raise InputError(
            "the batch has no values to take statistics from",
            "give at least one image, no smaller than the kernel",
        )
