"""Linear layers whose features are whitened: Delinear."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nd_deploy.nd.adapters import DelinearAdapter
from nd_deploy.nd.formulas.base import (
    Foreign,
    Formula,
    behind,
    deconv_of,
    lacks,
    normal,
    without_bias,
    wrong_rank,
)
from nd_deploy.nd.formulas.norms import FEATURE_NORMS


def _mismatch(module: Foreign) -> str | None:
    problem = lacks(module, ("weight", "bias", "running_mean")) or wrong_rank(
        module, weight=(2,), running_mean=(1,), deconv=(2,)
    )
    if problem is None and module.weight.shape[1] % deconv_of(module).shape[0]:
        return (
            f"F = {deconv_of(module).shape[0]} does not divide "
            f"{module.weight.shape[1]} input features"
        )
    return problem


def _form(
    name: str, mismatch: Callable[[Foreign], str | None], read_mean: Callable[[Foreign], Tensor]
) -> Formula:
    def compute(module: Foreign, x: Tensor) -> Tensor:
        """W (I ⊗ D) (x - mu) + b: contiguous blocks of features share one D."""
        deconv = deconv_of(module)
        blocks = x.view(*x.shape[:-1], -1, deconv.shape[0]) - read_mean(module)
        whitened = torch.einsum("ef,...gf->...ge", deconv, blocks)
        return nn.functional.linear(whitened.reshape(x.shape), module.weight, module.bias)

    def adapter(module: Foreign) -> DelinearAdapter:
        return DelinearAdapter(module.weight, module.bias, read_mean(module), deconv_of(module))

    return Formula(name, mismatch, compute, adapter, _probes)


def _probes(module: Foreign, generator: torch.Generator) -> list[Tensor]:
    return [normal((3, module.weight.shape[1]), generator)]


_DELINEAR = _form("Delinear", _mismatch, lambda module: module.running_mean)

LINEARS: Sequence[Formula] = (
    _DELINEAR,
    # Two semantics of bias=None stand in the authors' own repository.
    _form(
        "Delinear without mean",
        without_bias(_mismatch),
        lambda module: torch.zeros_like(module.running_mean),
    ),
    *(behind(norm, _DELINEAR, f"{norm.name} and Delinear") for norm in FEATURE_NORMS),
)
