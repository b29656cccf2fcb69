"""ChannelDeconv: the channels of each position are whitened, with or without an affine map behind.

The affine form is that of layers which stand in for a whole batch normalisation, such as
DecorrelateBN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nd_deploy.nd.adapters import (
    CentreAdapter,
    Chain,
    ChannelDeconvAdapter,
    ScaledChannelDeconvAdapter,
)
from nd_deploy.nd.formulas.base import (
    Foreign,
    Formula,
    deconv_of,
    lacks,
    normal,
    per_channel,
    wrong_rank,
)

_OF_LEFTOVERS = ("running_mean2", "running_var", "eps")


def _mismatch(module: Foreign) -> str | None:
    problem = _buffer_mismatch(module, ("running_mean1", *_OF_LEFTOVERS))
    if problem is None and isinstance(getattr(module, "weight", None), Tensor):
        return "it has a weight, as an affine map after D would"
    return problem


def _buffer_mismatch(module: Foreign, names: Sequence[str]) -> str | None:
    return lacks(module, names) or wrong_rank(module, deconv=(2,))


def _leftovers(module: Foreign) -> tuple[Tensor, Tensor, float]:
    """Mean, variance and eps of the leftover channels; where there are none, the identity's."""
    if lacks(module, _OF_LEFTOVERS):
        one = torch.ones_like(module.running_mean1[:1])
        return one - one, one, 0.0
    return module.running_mean2, module.running_var, float(module.eps)


def _compute(module: Foreign, x: Tensor) -> Tensor:
    """Channel f G + g of y is sum_f' D[f, f'] (x[f' G + g] - mu[f']); one scalar norm for the rest.

    Each group g is gathered and whitened by itself, without the reshape of the implementations.
    """
    deconv = deconv_of(module)
    features = deconv.shape[0]
    groups = x.shape[1] // features
    y = torch.empty_like(x)
    for g in range(groups):
        members = torch.arange(features) * groups + g
        centred = x[:, members] - per_channel(module.running_mean1, x)
        y[:, members] = torch.einsum("ef,nf...->ne...", deconv, centred)
    tail = slice(groups * features, None)
    mean, var, eps = _leftovers(module)
    y[:, tail] = (x[:, tail] - mean.item()) / (var.item() + eps) ** 0.5
    return y


def _adapter(module: Foreign) -> ChannelDeconvAdapter:
    return ChannelDeconvAdapter(module.running_mean1, deconv_of(module), *_leftovers(module))


def _probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    deconv = deconv_of(module)
    features = deconv.shape[0]
    if not torch.isfinite(deconv).all():
        # A block larger than the channels trains to NaN and is never read.
        return [normal((2, max(1, features - 1), 3, 2), generator)]
    return [normal((2, channels, 3, 2), generator) for channels in (features * 2, features * 2 + 1)]


def _affine_mismatch(module: Foreign) -> str | None:
    problem = _buffer_mismatch(module, ("running_mean1", "weight", "bias"))
    if problem is not None:
        return problem
    if not isinstance(module.weight, Tensor) or not isinstance(module.bias, Tensor):
        return "it has no weight or no bias"
    if module.weight.numel() != module.bias.numel():
        return f"{module.weight.numel()} weights do not go with {module.bias.numel()} biases"
    if module.weight.numel() < deconv_of(module).shape[0]:
        return f"{module.weight.numel()} weights are too few for a block of its D"
    if module.weight.numel() % deconv_of(module).shape[0]:
        return lacks(module, _OF_LEFTOVERS)
    return None


def _affine(module: Foreign, x: Tensor) -> Tensor:
    y = _compute(module, x)
    return y * per_channel(module.weight, x) + per_channel(module.bias, x)


def _affine_adapter(module: Foreign) -> Chain:
    weight = module.weight.detach().reshape(-1)
    whitening = ScaledChannelDeconvAdapter(_adapter(module), weight)
    return Chain("deconv", whitening, CentreAdapter(-module.bias.detach().reshape(-1)))


def _affine_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    return [normal((2, module.weight.numel(), 3, 2), generator)]


CHANNEL_DECONV = Formula("ChannelDeconv", _mismatch, _compute, _adapter, _probes)

CHANNELS: Sequence[Formula] = (
    CHANNEL_DECONV,
    Formula(
        "ChannelDeconv and affine map",
        _affine_mismatch,
        _affine,
        _affine_adapter,
        _affine_probes,
    ),
)
