"""Find the ND layers of a network, whoever wrote them, by what they compute."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nd_deploy.errors import UnsupportedLayerError
from nd_deploy.fold.conditioning import asymmetry, conditioning_bound, eigenvalues, spread
from nd_deploy.nd.formulas import D_BUFFERS, FORMULAS, Formula
from nd_deploy.nd.twin import float64_outline, float64_twin
from nd_deploy.threads import single_threaded_numpy, single_threaded_torch

PROBE_TOLERANCE = 1e-10
# All outputs share D, so a few of them tell the formula; the fold gate compares them all.
_PROBED_OUTPUTS = 8
# Rounding leaves D asymmetric by up to 2e-4; beyond this it is no inverse square root.
_SYMMETRY_TOLERANCE = 1e-2
# The longest Newton-Schulz iteration of the authors' networks, where a layer does not say.
_LONGEST_ITERATION = 15


@dataclass(frozen=True)
class NDLayer:
    """A layer that was recognised.

    Attributes:
        path: its name in the network, such as "features.0"; "" for the network itself.
        class_name: the class it is an instance of, for reports only.
        formula: what it computes.
        probe_error: max|y - formula(x)| / max|y| over the probes, in float64.
        eigenvalues: of its D, float64, (matrices, F); NaN where D is never read.
    """

    path: str
    class_name: str
    formula: Formula
    probe_error: float
    eigenvalues: NDArray[np.float64] = field(compare=False, repr=False)

    @property
    def condition(self) -> float:
        """Condition number of its D; NaN where D is never read."""
        return spread(self.eigenvalues)


@dataclass(frozen=True)
class Recognition:
    """The ND layers of a network, in the order of its modules, and what is odd about them."""

    layers: tuple[NDLayer, ...]
    warnings: tuple[str, ...]


def recognise(module: nn.Module) -> Recognition:
    """Find every ND layer of `module` and prove which formula it computes.

    A layer is one that keeps D in a buffer. It is matched by its buffers and shapes, then run in
    float64 on random inputs and compared with each formula that fits.

    Args:
        module: a network in any mode on any device; not changed.

    Returns:
        The layers and warnings: untrained layers, and D that is no healthy whitening matrix.

    Raises:
        UnsupportedLayerError: layers compute no known formula, or hold NaN or Inf.
    """
    layers: list[NDLayer] = []
    warnings: list[str] = []
    unknown: list[str] = []
    damaged: list[str] = []
    with single_threaded_torch(), single_threaded_numpy():
        for path, layer in _candidates(module):
            name = f"layer {path or 'at the top'} ({type(layer).__name__})"
            broken = _non_finite(layer)
            if broken:
                damaged.append(f"{name}: {' and '.join(broken)} holds NaN or Inf")
                continue
            result = _identify(path, layer)
            if isinstance(result, NDLayer):
                layers.append(result)
                warnings.extend(_oddities(result, layer))
            else:
                unknown.append("\n".join([f"{name} computes no known ND formula", *result]))
    if damaged:
        raise UnsupportedLayerError(
            "\n".join(damaged), "use a checkpoint that was saved before the training diverged"
        )
    if unknown:
        raise UnsupportedLayerError(
            "\n".join(unknown),
            "train with a layer that computes one of these formulas, or add yours to "
            "nd_deploy/nd/formulas (docs/adding-a-layer.md)",
        )
    return Recognition(tuple(layers), tuple(warnings))


def _candidates(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, layer in module.named_modules():
        if any(name in layer._buffers for name in D_BUFFERS):
            yield path, layer


def _identify(path: str, layer: nn.Module) -> NDLayer | list[str]:
    """The layer as it was recognised, or how it differs from each formula."""
    outline = float64_outline(layer, _PROBED_OUTPUTS)
    found = None if outline is None else _match(outline)[0]
    differences: list[str] = []
    if found is None:
        # Either the layer is small, or its code does not bear having outputs taken away.
        found, differences = _match(float64_twin(layer))
    if found is None:
        return differences
    formula, error = found
    spectrum = eigenvalues(running_deconv(layer).numpy())
    return NDLayer(path, type(layer).__name__, formula, error, spectrum)


def _match(layer: nn.Module) -> tuple[tuple[Formula, float] | None, list[str]]:
    """The formula that a float64 layer computes, or how it differs from each."""
    differences: dict[str, list[str]] = {}
    for formula in FORMULAS:
        problem = formula.mismatch(layer)
        result = problem if problem is not None else probe(layer, formula)
        if isinstance(result, float) and result <= PROBE_TOLERANCE:
            return (formula, result), []
        reason = result if isinstance(result, str) else f"output differs by {result:.1e}"
        differences.setdefault(reason, []).append(formula.name)
    return None, [f"  not {', '.join(names)}: {reason}" for reason, names in differences.items()]


def probe(layer: nn.Module, formula: Formula) -> float | str:
    """Hold a layer against a formula.

    Args:
        layer: a float64 copy of one, in the mode to look at.
        formula: what it is to compute.

    Returns:
        The worst relative error over the formula's probes, or how the layer itself failed.
    """
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    with torch.no_grad():
        for x in formula.probes(layer, generator):
            expected = formula.compute(layer, x.clone())
            try:
                actual = layer(x)
            except Exception as error:
                # Foreign code may raise anything; what it raised is the reason given.
                return f"its forward raises {type(error).__name__}: {error}"
            if not isinstance(actual, Tensor) or actual.shape != expected.shape:
                return "its output has another shape"
            worst = max(worst, _relative_error(actual, expected))
    return worst


def _relative_error(actual: Tensor, expected: Tensor) -> float:
    scale = float(expected.abs().max()) or 1.0
    error = float((actual - expected).abs().max()) / scale
    return error if math.isfinite(error) else math.inf


def _non_finite(layer: nn.Module) -> list[str]:
    """Names of tensors that make every output NaN.

    D and its mean may be NaN where a layer of leftover channels alone never reads them; whether it
    does is seen when the shapes are known.
    """
    unread = {"running_deconv", "running_mean1"} if "running_mean1" in layer._buffers else set()
    tensors = {**layer._parameters, **layer._buffers}
    return [
        name
        for name, tensor in tensors.items()
        if tensor is not None
        and tensor.is_floating_point()
        and name not in unread
        # In float64 the sum of finite float32 values is finite, and it needs no array of flags.
        and not math.isfinite(float(tensor.detach().sum(dtype=torch.float64)))
    ]


def running_deconv(layer: nn.Module) -> Tensor:
    """The D of an ND layer, on the CPU, in float32 or wider: numpy knows no bfloat16.

    Args:
        layer: keeps D in one of `D_BUFFERS`.
    """
    buffer = next(layer._buffers[name] for name in D_BUFFERS if name in layer._buffers)
    assert buffer is not None
    wide = buffer.detach().cpu()
    return wide if wide.dtype.itemsize >= 4 else wide.float()


def _oddities(found: NDLayer, layer: nn.Module) -> Iterator[str]:
    deconv = running_deconv(layer)
    if not torch.isfinite(deconv).all():
        return
    identity = torch.eye(deconv.shape[-1], dtype=deconv.dtype).expand_as(deconv)
    if torch.equal(deconv, identity):
        yield f"layer {found.path}: D is the identity, so it looks untrained and whitens nothing"
        return
    skew = asymmetry(deconv.numpy())
    if skew > _SYMMETRY_TOLERANCE:
        yield f"layer {found.path}: D is asymmetric by {skew:.1e}, so it is no whitening matrix"
    n_iter = int(getattr(layer, "n_iter", _LONGEST_ITERATION))
    bound = conditioning_bound(n_iter)
    if found.condition > bound * 1.01:
        yield (
            f"layer {found.path}: cond(D) = {found.condition:.4g} is beyond {bound:.4g}, the most "
            f"that {n_iter} Newton-Schulz steps can give; the buffer is damaged or n_iter is wrong"
        )
