"""What a formula is, and the questions that all of them ask of a foreign module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nd_deploy.nd.adapters import Adapter, Chain

# A module of unknown class; `mismatch` looks before anything else reaches for an attribute.
Foreign: TypeAlias = Any

D_BUFFERS = ("running_deconv", "running_cov_isqrt")
"""What D is called: by the paper's authors, and in their ND++."""


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
    adapter: Callable[[Foreign], Adapter | Chain]
    probes: Callable[[Foreign, torch.Generator], list[Tensor]]


@dataclass(frozen=True)
class Stage:
    """What some forms do to their input first.

    Attributes:
        name: ends the name of its nodes; the layer's own path begins it.
        mismatch: as of `Formula`.
        compute: as of `Formula`.
        adapter: as of `Formula`; of standard ops alone, it is any module.
    """

    name: str
    mismatch: Callable[[Foreign], str | None]
    compute: Callable[[Foreign, Tensor], Tensor]
    adapter: Callable[[Foreign], nn.Module]


def behind(stage: Stage, formula: Formula, name: str) -> Formula:
    """Make the form that computes `formula` of what `stage` gives."""
    return Formula(
        name,
        lambda module: formula.mismatch(module) or stage.mismatch(module),
        lambda module, x: formula.compute(module, stage.compute(module, x)),
        lambda module: Chain(stage.name, stage.adapter(module), formula.adapter(module)),
        formula.probes,
    )


def deconv_of(module: Foreign) -> Any:  # noqa: ANN401
    """D, under either of its names; None where a module has neither."""
    return next((getattr(module, name) for name in D_BUFFERS if hasattr(module, name)), None)


def lacks(module: Foreign, names: Sequence[str]) -> str | None:
    """Say which of these attributes, or its D before them, are missing; None if none is."""
    if deconv_of(module) is None:
        return f"it has no {D_BUFFERS[0]}"
    missing = [name for name in names if not hasattr(module, name)]
    return f"it has no {' or '.join(missing)}" if missing else None


def without_bias(mismatch: Callable[[Foreign], str | None]) -> Callable[[Foreign], str | None]:
    """Narrow a mismatch to modules that have no bias, of which some drop the mean as well."""

    def check(module: Foreign) -> str | None:
        problem = mismatch(module)
        if problem is None and module.bias is not None:
            return "it has a bias; the mean is dropped only where there is none"
        return problem

    return check


def wrong_rank(module: Foreign, **ranks: tuple[int, ...]) -> str | None:
    """Say which attribute is no tensor with one of these numbers of axes; D is called `deconv`."""
    for name, allowed in ranks.items():
        tensor = deconv_of(module) if name == "deconv" else getattr(module, name)
        if not isinstance(tensor, Tensor) or tensor.dim() not in allowed:
            shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else tensor
            expected = " or ".join(f"{r}-D" for r in allowed)
            return f"{name} is {shape}, not {expected}"
    return None


def per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """A stride, padding or the like as one number a spatial axis."""
    return (int(value),) * axes if isinstance(value, int) else tuple(map(int, value))


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel in a shape that broadcasts over x, (N, C, ...)."""
    return values.reshape(1, -1, *[1] * (x.dim() - 2))


def normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw a probe, float64."""
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
