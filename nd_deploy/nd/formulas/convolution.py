"""Convolutions whose patches are whitened: FastDeconv and DeConv2d, in every generation.

The current layer whitens W D (patch - mu) + b, zero padding included. Those of 2019 differ: the
first had no mean, the next two subtract one from the channels *before* the padding, and all three
apply D to the weight from the left, which is D transposed from the right. DeConv2d, of the same
year, whitens the patches themselves; its mode 1 whitens the channels first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nd_deploy.nd.adapters import CentreAdapter, FastDeconvAdapter
from nd_deploy.nd.formulas.base import (
    Foreign,
    Formula,
    Stage,
    behind,
    deconv_of,
    lacks,
    normal,
    per_axis,
    per_channel,
    without_bias,
    wrong_rank,
)
from nd_deploy.nd.formulas.channels import CHANNEL_DECONV
from nd_deploy.nd.formulas.norms import SAMPLE_NORMS


@dataclass(frozen=True)
class Whitened:
    """A convolution of whitened patches, whatever a generation calls its parts.

    Attributes:
        weight: (O, C / groups, *kernel).
        bias: (O,) or None.
        mean: (groups, F).
        deconv: (groups, F, F).
        stride: one int a spatial axis, as are `padding` and `dilation`.
        padding: zeros on both sides.
        dilation: distance of the kernel's taps.
    """

    weight: Tensor
    bias: Tensor | None
    mean: Tensor
    deconv: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return self.weight.shape[1] * self.deconv.shape[0]

    def output(self, x: Tensor) -> Tensor:
        """The definition: W D (patch - mu) + b over the zero-padded patches of (N, C, *spatial)."""
        groups, features, _ = self.deconv.shape
        outputs = self.weight.shape[0]
        patches = self._patches(x)
        blocks = patches.view(x.shape[0], groups, features, -1, patches.shape[-1])
        blocks = blocks - self.mean.view(groups, features, 1, 1)
        whitened = torch.einsum("gef,ngfsl->ngesl", self.deconv, blocks)
        per_group = self.weight.reshape(groups, outputs // groups, features, -1)
        y = torch.einsum("goes,ngesl->ngol", per_group, whitened).reshape(x.shape[0], outputs, -1)
        if self.bias is not None:
            y = y + self.bias.view(-1, 1)
        sizes = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(x.shape[2:], *self._window(), strict=True)
        ]
        return y.view(x.shape[0], outputs, *sizes)

    def probe_sizes(self) -> list[int]:
        """Sizes with a few output positions each way, so that borders and strides count.

        DeConv2d computes its output's size by a formula of its own, which is right only where the
        last stride is a whole one; these sizes are of that kind.
        """
        return [
            max(1, d * (k - 1) + 1 - 2 * p) + extra * s + s - 1
            for k, s, p, d, extra in zip(*self._window(), (2, 3), strict=False)
        ]

    def _window(self) -> tuple[tuple[int, ...], ...]:
        return (tuple(self.weight.shape[2:]), self.stride, self.padding, self.dilation)

    def _patches(self, x: Tensor) -> Tensor:
        kernel, stride, padding, dilation = self._window()
        if x.dim() == 3:
            # unfold knows images alone, so a signal is one of height 1.
            x, kernel, stride = x.unsqueeze(2), (1, *kernel), (1, *stride)
            padding, dilation = (0, *padding), (1, *dilation)
        return nn.functional.unfold(x, kernel, dilation, padding, stride)


def _read(module: Foreign, mean: Tensor) -> Whitened:
    groups, axes = int(module.groups), module.weight.dim() - 2
    deconv = deconv_of(module)
    features = deconv.shape[-1]
    stride, padding, dilation = (
        per_axis(getattr(module, name), axes) for name in ("stride", "padding", "dilation")
    )
    deconv = deconv.view(groups, features, features)
    mean = mean.reshape(groups, features)
    return Whitened(module.weight, module.bias, mean, deconv, stride, padding, dilation)


def _centred(module: Foreign) -> Whitened:
    return _read(module, module.running_mean)


def _uncentred(module: Foreign) -> Whitened:
    features = deconv_of(module).shape[-1]
    return _read(module, module.weight.new_zeros(int(module.groups) * features))


def _from_the_left(module: Foreign) -> Whitened:
    parts = _uncentred(module)
    return replace(parts, deconv=parts.deconv.transpose(1, 2).contiguous())


def _mismatch(module: Foreign) -> str | None:
    return (
        lacks(module, ("weight", "bias", "stride", "padding", "dilation", "groups"))
        or wrong_rank(module, weight=(3, 4), deconv=(2, 3))
        or _uneven(module)
    )


def _uneven(module: Foreign) -> str | None:
    weight, deconv, groups = module.weight, deconv_of(module), int(module.groups)
    if getattr(module, "transposed", False):
        return "its convolution is a transposed one"
    if (deconv.dim() == 3) != (groups > 1) or (groups > 1 and deconv.shape[0] != groups):
        return f"running_deconv {tuple(deconv.shape)} does not fit {groups} groups"
    features = deconv.shape[-1]
    if weight[0].numel() % features:
        return f"F = {features} does not divide the {weight[0].numel()} weights of an output"
    if isinstance(module.padding, str):
        return f"padding {module.padding!r} is not a number"
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return f"padding_mode {module.padding_mode!r} is not 'zeros'"
    return None


def _mean_mismatch(module: Foreign) -> str | None:
    problem = _mismatch(module) or lacks(module, ("running_mean",))
    if problem is not None:
        return problem
    mean, features = module.running_mean, deconv_of(module).shape[-1] * int(module.groups)
    if tuple(mean.shape) not in ((features,), (features, 1)):
        return f"running_mean is {tuple(mean.shape)}, not ({features},) or ({features}, 1)"
    return None


def _no_mean(module: Foreign) -> str | None:
    problem = _mismatch(module)
    if problem is None and hasattr(module, "running_mean"):
        return "it has a running_mean"
    return problem


def _form(
    name: str, mismatch: Callable[[Foreign], str | None], read: Callable[[Foreign], Whitened]
) -> Formula:
    def adapter(module: Foreign) -> FastDeconvAdapter:
        parts = read(module)
        return FastDeconvAdapter(
            parts.weight,
            parts.bias,
            parts.mean,
            parts.deconv,
            parts.stride,
            parts.padding,
            parts.dilation,
            parts.deconv.shape[0],
        )

    def probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
        parts = read(module)
        return [normal((2, parts.channels, *parts.probe_sizes()), generator)]

    return Formula(name, mismatch, lambda module, x: read(module).output(x), adapter, probes)


def _channel_mean(
    shape: Callable[[int], tuple[int, ...]], spread: Callable[[Tensor, int], Tensor]
) -> Stage:
    """The stage that subtracts a mean which channels share.

    Args:
        shape: of running_mean where B channels have one each.
        spread: (B means, C / B) to C means.
    """

    def mismatch(module: Foreign) -> str | None:
        problem = lacks(module, ("running_mean",))
        if problem is not None:
            return problem
        kernel = module.weight[0, 0].numel()
        expected = shape(deconv_of(module).shape[-1] // kernel)
        actual = tuple(module.running_mean.shape)
        return None if actual == expected else f"running_mean is {actual}, not {expected}"

    def mean(module: Foreign) -> Tensor:
        shared = module.running_mean.reshape(-1)
        return spread(shared, module.weight.shape[1] // shared.numel())

    def subtract(module: Foreign, x: Tensor) -> Tensor:
        return x - per_channel(mean(module), x)

    return Stage("centre", mismatch, subtract, lambda module: CentreAdapter(mean(module)))


_V0 = _form("FastDeconv of May 2019, without mean", _no_mean, _from_the_left)
_EARLY = _form("FastDeconv of 2019 on centred channels", _mismatch, _from_the_left)
_CONSECUTIVE_MEAN = _channel_mean(lambda block: (block, 1), Tensor.repeat_interleave)
_ALTERNATING_MEAN = _channel_mean(lambda block: (1, block, 1, 1), Tensor.repeat)
_CHILD = Stage(
    "channel_deconv",
    lambda module: (
        lacks(module, ("channel_deconv",)) or CHANNEL_DECONV.mismatch(module.channel_deconv)
    ),
    lambda module, x: CHANNEL_DECONV.compute(module.channel_deconv, x),
    lambda module: CHANNEL_DECONV.adapter(module.channel_deconv),
)

_FAST_DECONV = _form("FastDeconv", _mean_mismatch, _centred)

CONVOLUTIONS: Sequence[Formula] = (
    _FAST_DECONV,
    # Forks and early versions disagree on bias=None: some drop the mean along with the bias.
    _form("FastDeconv without mean", without_bias(_mean_mismatch), _uncentred),
    *(behind(norm, _FAST_DECONV, f"{norm.name} and FastDeconv") for norm in SAMPLE_NORMS),
    _V0,
    behind(_CONSECUTIVE_MEAN, _EARLY, "FastDeconv of May 2019, mean before padding"),
    behind(_ALTERNATING_MEAN, _EARLY, "FastDeconv of July 2019, mean before padding"),
    behind(_CHILD, _FAST_DECONV, "DeConv2d, channels first"),
)
