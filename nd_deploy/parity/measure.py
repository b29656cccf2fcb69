"""How far outputs are from the truth, and how far they may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

FOLD_BUDGET = 1e-10
FLOAT32_ULP = 2.0**-24
STORAGE_FACTOR, STORAGE_FLOOR = 2.0, 4 * FLOAT32_ULP
BACKEND_FACTOR, BACKEND_FLOOR = 4.0, 16 * FLOAT32_ULP


def relative_error(actual: Array, truth: Array) -> float:
    """max|actual - truth| / max|truth|; infinity where they differ in shape, or one is NaN.

    Args:
        actual: what was computed, any dtype.
        truth: what it should be, of the same shape.
    """
    if actual.shape != truth.shape:
        return float("inf")
    if not truth.size:
        return 0.0
    wide, expected = actual.astype(np.float64), truth.astype(np.float64)
    difference = float(np.abs(wide - expected).max())
    scale = float(np.abs(expected).max())
    error = difference / scale if scale else difference
    return error if np.isfinite(error) else float("inf")


def worst_error(actual: Sequence[Array], truth: Sequence[Array]) -> float:
    """The largest `relative_error` over the outputs of a network."""
    if len(actual) != len(truth):
        return float("inf")
    return max(relative_error(a, t) for a, t in zip(actual, truth, strict=True))


def storage_budget(torch_error: float) -> tuple[float, str]:
    """The error that a float32 model may have in itself, and why.

    Args:
        torch_error: of PyTorch's own float32 forward against its float64 forward.
    """
    return _budget(torch_error, STORAGE_FACTOR, STORAGE_FLOOR)


def backend_budget(torch_error: float) -> tuple[float, str]:
    """The error that a runtime's float32 may have, and why.

    Runtimes reorder sums and approximate functions such as exp to a few units in the last place,
    hence more room than for the model in itself. TF32, with 10 bits of mantissa, is far outside.
    """
    return _budget(torch_error, BACKEND_FACTOR, BACKEND_FLOOR)


def _budget(torch_error: float, factor: float, floor: float) -> tuple[float, str]:
    if factor * torch_error >= floor:
        return factor * torch_error, f"{factor:g} x PyTorch's own float32 error ({torch_error:.1e})"
    units = floor / FLOAT32_ULP
    return floor, f"{units:g} float32 roundings; PyTorch's own error is {torch_error:.1e}"


def top1_agreement(actual: Sequence[Array], truth: Sequence[Array]) -> float | None:
    """Share of samples whose largest entry is the same; None where there is no one logit vector."""
    if len(truth) != 1 or truth[0].ndim != 2 or truth[0].shape[1] < 2:
        return None
    return float((actual[0].argmax(axis=1) == truth[0].argmax(axis=1)).mean())
