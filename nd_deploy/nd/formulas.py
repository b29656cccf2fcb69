"""The formulas that published ND layers compute in eval, as the paper defines them.

Each formula whitens the *activations* and then applies the layer's own weight. That is the
definition, and it is independent of the fold, which moves D into the weight instead; a layer is
recognised by computing one of them (`nd_deploy.nd.recognise`).

A new variant is one `Formula` in `FORMULAS`: what a module must have, what it then computes, and
the adapter that exports it. Class names are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nd_deploy.nd.adapters import (
    Adapter,
    ChannelDeconvAdapter,
    DelinearAdapter,
    FastDeconvAdapter,
)

# A module of unknown class; `mismatch` looks before anything else reaches for an attribute.
Foreign: TypeAlias = Any


@dataclass(frozen=True)
class Formula:
    """One form of an ND layer.

    Attributes:
        name: what reports call it.
        mismatch: why a module cannot be this form, judged by its buffers, shapes and attributes;
            None where it can.
        compute: (module, x) to the layer's eval output, by definition.
        adapter: the module's stand-in for export.
        probes: inputs, float64, that tell this formula from its neighbours.
    """

    name: str
    mismatch: Callable[[Foreign], str | None]
    compute: Callable[[Foreign, Tensor], Tensor]
    adapter: Callable[[Foreign], Adapter]
    probes: Callable[[Foreign, torch.Generator], list[Tensor]]


def _fast_deconv_mismatch(module: Foreign) -> str | None:
    return (
        _lacks(module, ("weight", "running_mean", "running_deconv"))
        or _wrong_rank(module, weight=(4,), running_mean=(1,), running_deconv=(2, 3))
        or _lacks(module, ("stride", "padding", "dilation", "groups"))
        or _uneven_convolution(module)
    )


def _uneven_convolution(module: Foreign) -> str | None:
    weight, deconv, groups = module.weight, module.running_deconv, int(module.groups)
    if (deconv.dim() == 3) != (groups > 1) or (groups > 1 and deconv.shape[0] != groups):
        return f"running_deconv {tuple(deconv.shape)} does not fit {groups} groups"
    features = deconv.shape[-1]
    if weight[0].numel() % features:
        return f"F = {features} does not divide the {weight[0].numel()} weights of an output"
    if module.running_mean.numel() != groups * features:
        return f"running_mean has {module.running_mean.numel()} entries, not {groups * features}"
    if isinstance(module.padding, str):
        return f"padding {module.padding!r} is not a number"
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"padding_mode {module.padding_mode!r} is not 'zeros'"
    return None


def _fast_deconv(module: Foreign, x: Tensor, centred: bool = True) -> Tensor:
    """The paper's definition: W D (patch - mu) + b over the zero-padded patches of x."""
    weight, groups = module.weight, int(module.groups)
    outputs, features = weight.shape[0], module.running_deconv.shape[-1]
    stride, padding, dilation = (_pair(getattr(module, n)) for n in _GEOMETRY)
    patches = nn.functional.unfold(x, weight.shape[2:], dilation, padding, stride)
    blocks = patches.view(x.shape[0], groups, features, -1, patches.shape[-1])
    if centred:
        blocks = blocks - module.running_mean.view(groups, features, 1, 1)
    deconv = module.running_deconv.view(groups, features, features)
    whitened = torch.einsum("gef,ngfsl->ngesl", deconv, blocks)
    per_group = weight.reshape(groups, outputs // groups, features, -1)
    y = torch.einsum("goes,ngesl->ngol", per_group, whitened).reshape(x.shape[0], outputs, -1)
    if module.bias is not None:
        y = y + module.bias.view(-1, 1)
    height = _conv_size(x.shape[2], weight.shape[2], stride[0], padding[0], dilation[0])
    return y.view(x.shape[0], outputs, height, -1)


def _fast_deconv_adapter(module: Foreign, centred: bool = True) -> Adapter:
    mean = module.running_mean if centred else torch.zeros_like(module.running_mean)
    stride, padding, dilation = (_pair(getattr(module, n)) for n in _GEOMETRY)
    return FastDeconvAdapter(
        module.weight,
        module.bias,
        mean,
        module.running_deconv,
        stride,
        padding,
        dilation,
        int(module.groups),
    )


def _fast_deconv_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    # Odd sizes with a few output positions each way, so that borders, stride and dilation count.
    channels = module.weight.shape[1] * int(module.groups)
    stride, padding, dilation = (_pair(getattr(module, n)) for n in _GEOMETRY)
    height, width = (
        max(1, d * (k - 1) + 1 - 2 * p) + extra * s
        for k, s, p, d, extra in zip(
            module.weight.shape[2:], stride, padding, dilation, (2, 3), strict=True
        )
    )
    return [_normal((2, channels, height, width), generator)]


def _delinear_mismatch(module: Foreign) -> str | None:
    problem = _lacks(module, ("weight", "running_mean", "running_deconv")) or _wrong_rank(
        module, weight=(2,), running_mean=(1,), running_deconv=(2,)
    )
    if problem is None and module.weight.shape[1] % module.running_deconv.shape[0]:
        return (
            f"F = {module.running_deconv.shape[0]} does not divide "
            f"{module.weight.shape[1]} input features"
        )
    return problem


def _delinear(module: Foreign, x: Tensor, centred: bool = True) -> Tensor:
    """W (I ⊗ D) (x - mu) + b: contiguous blocks of features share one D."""
    blocks = x.view(*x.shape[:-1], -1, module.running_deconv.shape[0])
    if centred:
        blocks = blocks - module.running_mean
    whitened = torch.einsum("ef,...gf->...ge", module.running_deconv, blocks)
    return nn.functional.linear(whitened.reshape(x.shape), module.weight, module.bias)


def _delinear_adapter(module: Foreign, centred: bool = True) -> Adapter:
    mean = module.running_mean if centred else torch.zeros_like(module.running_mean)
    return DelinearAdapter(module.weight, module.bias, mean, module.running_deconv)


def _delinear_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    return [_normal((3, module.weight.shape[1]), generator)]


_CHANNEL_BUFFERS = ("running_mean1", "running_deconv", "running_mean2", "running_var")


def _channel_deconv_mismatch(module: Foreign) -> str | None:
    problem = _lacks(module, (*_CHANNEL_BUFFERS, "eps")) or _wrong_rank(module, running_deconv=(2,))
    if problem is None and isinstance(getattr(module, "weight", None), Tensor):
        return "it has a weight, as an affine map after D would"
    return problem


def _channel_deconv(module: Foreign, x: Tensor) -> Tensor:
    """Channel f G + g of y is sum_f' D[f, f'] (x[f' G + g] - mu[f']); one scalar norm for the rest.

    Each group g is gathered and whitened by itself, without the reshape of the implementations.
    """
    features = module.running_deconv.shape[0]
    groups = x.shape[1] // features
    y = torch.empty_like(x)
    for g in range(groups):
        members = torch.arange(features) * groups + g
        centred = x[:, members] - module.running_mean1.view(1, -1, 1, 1)
        y[:, members] = torch.einsum("ef,nfhw->nehw", module.running_deconv, centred)
    tail = slice(groups * features, None)
    y[:, tail] = (x[:, tail] - module.running_mean2) / (module.running_var + module.eps).sqrt()
    return y


def _channel_deconv_adapter(module: Foreign) -> Adapter:
    return ChannelDeconvAdapter(
        module.running_mean1,
        module.running_deconv,
        module.running_mean2,
        module.running_var,
        float(module.eps),
    )


def _channel_deconv_probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    features = module.running_deconv.shape[0]
    if not torch.isfinite(module.running_deconv).all():
        # A block larger than the channels trains to NaN and is never read.
        return [_normal((2, max(1, features - 1), 3, 2), generator)]
    return [
        _normal((2, channels, 3, 2), generator) for channels in (features * 2, features * 2 + 1)
    ]


def _without_bias(mismatch: Callable[[Foreign], str | None]) -> Callable[[Foreign], str | None]:
    def check(module: Foreign) -> str | None:
        problem = mismatch(module)
        if problem is None and module.bias is not None:
            return "it has a bias; the mean is dropped only where there is none"
        return problem

    return check


FORMULAS: Sequence[Formula] = (
    Formula(
        "FastDeconv",
        _fast_deconv_mismatch,
        _fast_deconv,
        _fast_deconv_adapter,
        _fast_deconv_probes,
    ),
    # Forks and early versions disagree on bias=None: some drop the mean along with the bias.
    Formula(
        "FastDeconv without mean",
        _without_bias(_fast_deconv_mismatch),
        lambda module, x: _fast_deconv(module, x, centred=False),
        lambda module: _fast_deconv_adapter(module, centred=False),
        _fast_deconv_probes,
    ),
    Formula("Delinear", _delinear_mismatch, _delinear, _delinear_adapter, _delinear_probes),
    Formula(
        "Delinear without mean",
        _without_bias(_delinear_mismatch),
        lambda module, x: _delinear(module, x, centred=False),
        lambda module: _delinear_adapter(module, centred=False),
        _delinear_probes,
    ),
    Formula(
        "ChannelDeconv",
        _channel_deconv_mismatch,
        _channel_deconv,
        _channel_deconv_adapter,
        _channel_deconv_probes,
    ),
)

_GEOMETRY = ("stride", "padding", "dilation")


def _lacks(module: Foreign, names: Sequence[str]) -> str | None:
    missing = [name for name in names if not hasattr(module, name)]
    return f"it has no {' or '.join(missing)}" if missing else None


def _wrong_rank(module: Foreign, **ranks: tuple[int, ...]) -> str | None:
    for name, allowed in ranks.items():
        tensor = getattr(module, name)
        if not isinstance(tensor, Tensor) or tensor.dim() not in allowed:
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else tensor
            expected = " or ".join(f"{r}-D" for r in allowed)
            return f"{name} is {shape}, not {expected}"
    return None


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    first, second = value
    return (int(first), int(second))


def _conv_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)
