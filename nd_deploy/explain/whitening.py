"""D from data: the covariance of patches, and its inverse root computed in two ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class PatchStatistics:
    """What is known of a set of patches.

    Attributes:
        count: how many there are.
        mean: of each feature, (F,).
        covariance: (F, F), divided by the count as the paper does.
    """

    count: int
    mean: Wide
    covariance: Wide

    def merged(self, other: PatchStatistics) -> PatchStatistics:
        """The statistics of both sets together."""
        count = self.count + other.count
        share = other.count / count
        shift = other.mean - self.mean
        between = share * (1 - share) * np.outer(shift, shift)
        covariance = (1 - share) * self.covariance + share * other.covariance + between
        return PatchStatistics(count, self.mean + share * shift, covariance)


def draw_patches(
    image: NDArray[np.floating[Any]], size: int, limit: int, generator: np.random.Generator
) -> Wide:
    """Take patches from an image, at places drawn without replacement.

    Args:
        image: (C, H, W), no side of which is below `size`.
        size: of a square patch.
        limit: how many to take at most; of fewer, all are taken.
        generator: what draws the places.

    Returns:
        (patches, C size^2), each in the order (channel, row, column).
    """
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    rows, columns = windows.shape[1:3]
    places = np.arange(rows * columns)
    if len(places) > limit:
        places = np.sort(generator.choice(rows * columns, limit, replace=False))
    patches = windows[:, places // columns, places % columns]
    rows_of_features: Wide = patches.swapaxes(0, 1).reshape(len(places), -1).astype(np.float64)
    return rows_of_features


def statistics_of(patches: Wide) -> PatchStatistics:
    """The mean and the covariance of patches (count, F)."""
    mean = patches.mean(0)
    centred = patches - mean
    return PatchStatistics(len(patches), mean, centred.T @ centred / len(patches))


def newton_schulz(covariance: Wide, eps: float, n_iter: int) -> Wide:
    """D as the paper computes it: coupled Newton-Schulz steps towards (Cov + eps I)^(-1/2).

    Y starts at the matrix over its Frobenius norm and Z at the identity; a step multiplies both by
    T = (3I - ZY) / 2 (Ye et al., ICLR 2020, "Network Deconvolution", algorithm 1).

    Args:
        covariance: (F, F).
        eps: what is added to the diagonal.
        n_iter: the steps. An eigenvalue of Z grows by less than 1.5 a step, so that few steps
            whiten little what varies least.

    Returns:
        D, (F, F).
    """
    identity = np.eye(len(covariance))
    regular = covariance + eps * identity
    scale = np.linalg.norm(regular)
    Y, Z = regular / scale, identity
    for _ in range(n_iter):
        T = 1.5 * identity - 0.5 * (Z @ Y)
        Y, Z = Y @ T, T @ Z
    D: Wide = Z / np.sqrt(scale)
    return D


def exact_inverse_root(covariance: Wide, eps: float) -> Wide:
    """(Cov + eps I)^(-1/2) by eigendecomposition, what Newton-Schulz steps tend to.

    Args:
        covariance: (F, F), positive semidefinite.
        eps: what is added to the diagonal; over 0.

    Returns:
        (F, F).
    """
    variances, directions = np.linalg.eigh(covariance)
    # Rounding makes eigenvalues of 0 slightly negative.
    roots = 1 / np.sqrt(np.maximum(variances, 0) + eps)
    inverse: Wide = (directions * roots) @ directions.T
    return inverse
