"""The norms that ND++ computes of each sample before it whitens.

They are run-time reductions, so they stay in the deployed graph, in standard ops. The first is not
ONNX's LayerNormalization: its standard deviation is unbiased, and eps is added to it rather than
to the variance.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nd_deploy.nd.formulas.base import Foreign, Stage, lacks

_Norm = Callable[[Tensor, list[int], float], Tensor]


def _layer_norm(x: Tensor, axes: list[int], eps: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    count = 1
    for axis in axes:
        count = count * x.shape[axis]
    std = torch.sqrt((centred * centred).sum(axes, keepdim=True) / (count - 1))
    return centred / (std + eps)


def _l1_norm(x: Tensor, axes: list[int], eps: float) -> Tensor:
    return x / (x.abs().mean(axes, keepdim=True) + eps)


class _SampleNorm(nn.Module):
    """A norm of each sample over everything but the batch, or over the features alone."""

    def __init__(self, norm: _Norm, features_only: bool, eps: float) -> None:
        super().__init__()
        self.norm, self.features_only, self.eps = norm, features_only, eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, ...)."""
        axes = [x.dim() - 1] if self.features_only else list(range(1, x.dim()))
        return self.norm(x, axes, self.eps)


def _eps_mismatch(module: Foreign) -> str | None:
    return lacks(module, ("eps",))


def _stage(name: str, norm: _Norm, features_only: bool) -> Stage:
    def make(module: Foreign) -> _SampleNorm:
        # ND++ keeps its layer norm in a child, which has an eps of its own.
        holder = getattr(module, "layernorm", module) if norm is _layer_norm else module
        return _SampleNorm(norm, features_only, float(getattr(holder, "eps", module.eps)))

    def compute(module: Foreign, x: Tensor) -> Tensor:
        y: Tensor = make(module)(x)
        return y

    return Stage(name, _eps_mismatch, compute, make)


SAMPLE_NORMS = (_stage("layer norm", _layer_norm, False), _stage("L1 norm", _l1_norm, False))
"""Of ND++'s convolutions: over channels and positions."""

FEATURE_NORMS = (_stage("layer norm", _layer_norm, True), _stage("L1 norm", _l1_norm, True))
"""Of ND++'s linear layers: over the last axis."""
