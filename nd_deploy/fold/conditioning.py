"""Whether D is what whitening makes of a covariance, judged by its numbers."""

from __future__ import annotations

import math

import numpy as np

from nd_deploy.fold.algebra import Array, Wide


def eigenvalues(deconv: Array) -> Wide:
    """The eigenvalues of D's symmetric part, computed in float64.

    Args:
        deconv: (F, F) or (matrices, F, F), of any float dtype.

    Returns:
        (matrices, F), ascending; NaN throughout if any entry of D is not finite.
    """
    stacked = deconv.reshape(-1, *deconv.shape[-2:]).astype(np.float64)
    if not np.isfinite(stacked).all():
        return np.full(stacked.shape[:2], np.nan)
    values: Wide = np.linalg.eigvalsh((stacked + stacked.swapaxes(1, 2)) / 2)
    return values


def spread(values: Wide) -> float:
    """Largest over smallest eigenvalue, the worst matrix's.

    Args:
        values: as of `eigenvalues`.

    Returns:
        The condition number; infinity where a matrix is not positive definite, NaN for NaN.
    """
    if np.isnan(values).any():
        return math.nan
    if (values[:, 0] <= 0).any():
        return math.inf
    return float((values[:, -1] / values[:, 0]).max())


def condition_number(deconv: Array) -> float:
    """Largest over smallest eigenvalue of D's symmetric part, the worst over leading axes.

    Args:
        deconv: (..., F, F).

    Returns:
        The condition number, to the precision of D's own dtype; infinity where D is not positive
        definite, or not finite.
    """
    if not np.isfinite(deconv).all():
        return float("inf")
    symmetric = (deconv + np.swapaxes(deconv, -1, -2)) / 2
    eigenvalues = np.linalg.eigvalsh(symmetric)
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    if np.any(smallest <= 0):
        return float("inf")
    return float(np.max(largest / smallest))


def asymmetry(deconv: Array) -> float:
    """Largest |D - D^T| over largest |D|: rounding for a healthy buffer."""
    largest = float(np.abs(deconv).max())
    return float(np.abs(deconv - np.swapaxes(deconv, -1, -2)).max()) / largest if largest else 0.0


def conditioning_bound(n_iter: int) -> float:
    """The condition number that n Newton-Schulz steps cannot exceed: 1.5^n.

    Each step multiplies an eigenvalue of the iterate by a factor in [1, 1.5), and a running
    average of matrices that obey the bound obeys it too.
    """
    return float(1.5**n_iter)
