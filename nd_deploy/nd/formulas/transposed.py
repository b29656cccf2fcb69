"""ND++'s transposed convolution: what is whitened are the patches that it adds into its output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nd_deploy.nd.adapters import FastDeconvTransposeAdapter
from nd_deploy.nd.formulas.base import (
    Foreign,
    Formula,
    behind,
    deconv_of,
    lacks,
    normal,
    per_axis,
    wrong_rank,
)
from nd_deploy.nd.formulas.norms import SAMPLE_NORMS

_GEOMETRY = ("stride", "padding", "dilation", "output_padding")


def _mismatch(module: Foreign) -> str | None:
    if not getattr(module, "transposed", hasattr(module, "output_padding")):
        return "its convolution is not transposed"
    return (
        lacks(module, ("weight", "bias", "running_mean", "groups", *_GEOMETRY))
        or wrong_rank(module, weight=(4,), running_mean=(1,), deconv=(2,))
        or _uneven(module)
    )


def _uneven(module: Foreign) -> str | None:
    weight, features = module.weight, deconv_of(module).shape[0]
    if int(module.groups) != 1:
        return f"a transposed convolution with {int(module.groups)} groups"
    if weight.shape[0] != weight.shape[1]:
        return f"its {weight.shape[0]} inputs are not as many as its {weight.shape[1]} outputs"
    if weight[0].numel() % features or module.running_mean.numel() != features:
        return f"F = {features} does not fit the weight {tuple(weight.shape)} and the mean"
    return None


def _compute(module: Foreign, x: Tensor) -> Tensor:
    """Add up output patches, whitened with the taps in the order of a plain convolution."""
    weight, deconv = module.weight, deconv_of(module)
    kernel = tuple(weight.shape[2:])
    stride, padding, dilation, extra = (per_axis(getattr(module, name), 2) for name in _GEOMETRY)
    rows = weight.flip(2, 3).reshape(weight.shape[0], deconv.shape[0], -1)
    patches = torch.einsum("nchw,cfs->nfshw", x, rows)
    whitened = torch.einsum("nfshw,fe->neshw", patches, deconv)
    taps = whitened.reshape(x.shape[0], weight.shape[1], *kernel, -1).flip(2, 3)
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, k, s, p, d, e in zip(
            x.shape[2:], kernel, stride, padding, dilation, extra, strict=True
        )
    )
    y = nn.functional.fold(taps.flatten(1, 3), size, kernel, dilation, padding, stride)
    means = torch.einsum("cfs,fe,e->c", rows, deconv, module.running_mean)
    bias = -means if module.bias is None else module.bias - means
    return y + bias.view(1, -1, 1, 1)


def _adapter(module: Foreign) -> FastDeconvTransposeAdapter:
    stride, padding, dilation, extra = (per_axis(getattr(module, name), 2) for name in _GEOMETRY)
    return FastDeconvTransposeAdapter(
        module.weight,
        module.bias,
        module.running_mean,
        deconv_of(module),
        stride,
        padding,
        dilation,
        extra,
    )


def _probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    return [normal((2, module.weight.shape[0], 4, 5), generator)]


_TRANSPOSED = Formula("DeconvTransposed", _mismatch, _compute, _adapter, _probes)

TRANSPOSED: Sequence[Formula] = (
    _TRANSPOSED,
    *(behind(norm, _TRANSPOSED, f"{norm.name} and DeconvTransposed") for norm in SAMPLE_NORMS),
)
