"""The formulas that published ND layers compute while they train, by definition.

They whiten activations with the mean and the covariance of the batch at hand. D is worked out on
the spectrum of the covariance: every Newton-Schulz iterate is a polynomial of it and has its
eigenvectors, so the steps become those of a number for each eigenvalue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nd_deploy.nd.adapters.dynamic import (
    ChannelDeconvDynamicAdapter,
    DelinearDynamicAdapter,
    FastDeconvDynamicAdapter,
)
from nd_deploy.nd.formulas import Formula
from nd_deploy.nd.formulas.base import Foreign, deconv_of, normal, per_axis
from nd_deploy.nd.formulas.convolution import Whitened


def _inverse_root(A: Tensor, n_iter: int) -> Tensor:
    """D of symmetric A, (..., F, F), after so many steps."""
    eigenvalues, vectors = torch.linalg.eigh(A)
    scale = eigenvalues.square().sum(-1, keepdim=True).sqrt()
    y, z = eigenvalues / scale, torch.ones_like(eigenvalues)
    for _ in range(n_iter):
        t = (3 - z * y) / 2
        y, z = y * t, z * t
    return torch.einsum("...ie,...e,...je->...ij", vectors, z / scale.sqrt(), vectors)


def _whitening(spread: Tensor, module: Foreign) -> Tensor:
    """D of (..., F, M) samples, with the layer's own eps and number of steps."""
    moment = torch.einsum("...im,...jm->...ij", spread, spread) / spread.shape[-1]
    ridge = float(module.eps) * torch.eye(spread.shape[-2], dtype=spread.dtype)
    return _inverse_root(moment + ridge, int(module.n_iter))


def _settings_mismatch(module: Foreign, *counts: str) -> str | None:
    """Say which setting of the training forward is missing, or is no number of its kind."""
    for name in ("n_iter", *counts):
        value = getattr(module, name, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            return f"its {name} is {value!r}, not a whole number from 1 on"
    eps = getattr(module, "eps", None)
    if not isinstance(eps, (int, float)) or isinstance(eps, bool) or not 0 <= eps < math.inf:
        return f"its eps is {eps!r}, not a number from 0 on"
    return None


def _sampling(module: Foreign) -> tuple[int, ...] | None:
    """How far apart the patches of a convolution's statistics are; None if it does not say."""
    value = getattr(module, "sampling_stride", None)
    distances = (value,) * 2 if isinstance(value, int) else value
    if not isinstance(distances, (tuple, list)) or len(distances) != 2:
        return None
    return tuple(distances) if all(isinstance(d, int) and d >= 1 for d in distances) else None


def _convolution_mismatch(module: Foreign) -> str | None:
    if module.weight.dim() != 4:
        return f"its kernel is {module.weight.dim() - 2}-D, not 2-D"
    if _sampling(module) is None:
        given = getattr(module, "sampling_stride", None)
        return f"its sampling_stride is {given!r}, not a whole number from 1 on or two of them"
    return _settings_mismatch(module)


def _samples(module: Foreign, x: Tensor) -> Tensor:
    """What the statistics of a convolution are of: (groups, F, M)."""
    kernel = module.weight.shape[2:]
    height, width = _sampling(module) or (1, 1)
    if kernel.numel() == 1:
        pixels = [image[:, row, column] for image in x for row, column in _places(x)]
        columns = torch.stack(pixels[:: height * width], dim=1)
    else:
        padding, dilation = (per_axis(getattr(module, n), 2) for n in ("padding", "dilation"))
        patches = nn.functional.unfold(x, kernel, dilation, padding, (height, width))
        columns = torch.cat(list(patches), dim=1)
    groups, features = int(module.groups), deconv_of(module).shape[-1]
    by_group = columns.tensor_split(groups)
    shared = by_group[0].shape[0] // features
    # Feature f of block s is row f S + s.
    return torch.stack([torch.cat([g[s::shared] for s in range(shared)], 1) for g in by_group])


def _places(x: Tensor) -> list[tuple[int, int]]:
    return [(row, column) for row in range(x.shape[2]) for column in range(x.shape[3])]


def _convolution(module: Foreign, x: Tensor) -> Tensor:
    samples = _samples(module, x)
    mean = samples.mean(-1, keepdim=True)
    deconv = _whitening(samples - mean, module)
    window = (per_axis(getattr(module, n), 2) for n in ("stride", "padding", "dilation"))
    return Whitened(module.weight, module.bias, mean.squeeze(-1), deconv, *window).output(x)


def _convolution_adapter(module: Foreign) -> FastDeconvDynamicAdapter:
    stride, padding, dilation = (
        per_axis(getattr(module, name), 2) for name in ("stride", "padding", "dilation")
    )
    return FastDeconvDynamicAdapter(
        module.weight,
        module.bias,
        int(module.n_iter),
        float(module.eps),
        stride=stride,
        padding=padding,
        dilation=dilation,
        sampling=_sampling(module) or (1, 1),
        groups=int(module.groups),
        block=deconv_of(module).shape[-1] // module.weight[0, 0].numel(),
    )


def _convolution_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    """Images with a few sampled patches each way, the last of them not at the border."""
    kernel = module.weight.shape[2:]
    padding, dilation = (per_axis(getattr(module, n), 2) for n in ("padding", "dilation"))
    sizes = [
        max(1, d * (k - 1) + 1 - 2 * p) + extra * step + 1
        for k, p, d, step, extra in zip(
            kernel, padding, dilation, _sampling(module) or (1, 1), (2, 3), strict=True
        )
    ]
    channels = module.weight.shape[1] * int(module.groups)
    return [normal((2, channels, *sizes), generator) + 0.5]


def _linear(module: Foreign, x: Tensor) -> Tensor:
    features = deconv_of(module).shape[0]
    blocks = x.reshape(*x.shape[:-1], -1, features)
    samples = blocks.reshape(-1, features)
    mean = samples.mean(0)
    deconv = _whitening((samples - mean).T, module)
    whitened = torch.einsum("ef,...gf->...ge", deconv, blocks - mean)
    return nn.functional.linear(whitened.reshape(x.shape), module.weight, module.bias)


def _linear_adapter(module: Foreign) -> DelinearDynamicAdapter:
    return DelinearDynamicAdapter(
        module.weight,
        module.bias,
        int(module.n_iter),
        float(module.eps),
        block=deconv_of(module).shape[0],
    )


def _linear_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    return [normal((5, module.weight.shape[1]), generator) + 0.5]


def _channels(module: Foreign, x: Tensor) -> Tensor:
    """Channel f G + g is feature f of block g; the statistics know the second moment alone."""
    maps = x.reshape(*x.shape, 1, 1) if x.dim() == 2 else x
    features, step = deconv_of(module).shape[0], int(module.sampling_stride)
    every = 1 if min(maps.shape[2:]) < step else step**2
    groups = maps.shape[1] // features
    y = torch.empty_like(maps)
    if groups:
        members = torch.arange(features * groups).reshape(features, groups)
        samples = torch.stack([_in_a_row(maps[:, m].transpose(0, 1), every) for m in members])
        mean, deconv = samples.mean(1), _whitening(samples, module)
        for block in members.T:
            centred = maps[:, block] - mean.reshape(1, -1, 1, 1)
            y[:, block] = torch.einsum("ef,nfhw->nehw", deconv, centred)
    tail = maps[:, features * groups :]
    if tail.shape[1]:
        sampled = torch.cat([_in_a_row(image, every) for image in tail])
        deviation = (sampled.var() + float(module.eps)).sqrt()
        y[:, features * groups :] = (tail - sampled.mean()) / deviation
    return y.reshape(x.shape)


def _in_a_row(values: Tensor, every: int) -> Tensor:
    return values.reshape(-1)[::every]


def _channels_adapter(module: Foreign) -> ChannelDeconvDynamicAdapter:
    return ChannelDeconvDynamicAdapter(
        deconv_of(module).shape[0],
        int(module.n_iter),
        float(module.eps),
        int(module.sampling_stride),
    )


def _channels_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    deconv, size = deconv_of(module), int(module.sampling_stride) + 1
    block = deconv.shape[0]
    # A block larger than the channels trains to NaN and never whitens.
    counts = (2 * block, 2 * block + 1) if torch.isfinite(deconv).all() else (max(1, block - 1),)
    shapes = [(2, c, *sizes) for c in counts for sizes in ((2 * size, size), (1, size), ())]
    return [normal(shape, generator) + 0.5 for shape in shapes]


def _formula(
    name: str,
    mismatch: Callable[[Foreign], str | None],
    compute: Callable[[Foreign, Tensor], Tensor],
    adapter: Callable[
        [Foreign],
        FastDeconvDynamicAdapter | DelinearDynamicAdapter | ChannelDeconvDynamicAdapter,
    ],
    probes: Callable[[Foreign, torch.Generator], list[Tensor]],
) -> Formula:
    return Formula(f"{name} on batch statistics", mismatch, compute, adapter, probes)


BATCH_FORMULAS: Mapping[str, Formula] = {
    "FastDeconv": _formula(
        "FastDeconv",
        _convolution_mismatch,
        _convolution,
        _convolution_adapter,
        _convolution_probes,
    ),
    "Delinear": _formula("Delinear", _settings_mismatch, _linear, _linear_adapter, _linear_probes),
    "ChannelDeconv": _formula(
        "ChannelDeconv",
        lambda module: _settings_mismatch(module, "sampling_stride"),
        _channels,
        _channels_adapter,
        _channels_probes,
    ),
}
"""By the name of the formula that the layer computes in eval."""
