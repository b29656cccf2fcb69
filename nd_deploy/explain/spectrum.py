"""The spectrum of a layer's D, and what may be said about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nd_deploy.fold.conditioning import conditioning_bound, spread

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class LayerSpectrum:
    """The eigenvalues of one layer's D.

    Attributes:
        layer: the layer's name in the network.
        kind: the formula that it computes, such as "FastDeconv".
        eigenvalues: of D's symmetric part, ascending, (matrices, F): a grouped convolution has one
            matrix a group. NaN where the layer never reads its D.
        n_iter: the Newton-Schulz steps that D was trained with, where the layer says.
    """

    layer: str
    kind: str
    eigenvalues: Wide
    n_iter: int | None

    @property
    def is_read(self) -> bool:
        """Whether D has any effect: a ChannelDeconv of leftover channels alone never reads it."""
        return not np.isnan(self.eigenvalues).any()

    @property
    def is_identity(self) -> bool:
        """Whether D still is what it is before training."""
        return bool((self.eigenvalues == 1).all())

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue, the worst matrix's.

        Infinite where D is not positive definite, NaN where it is never read.
        """
        return spread(self.eigenvalues)

    @property
    def bound(self) -> float | None:
        """The most that cond(D) can be after that many Newton-Schulz steps, where known."""
        return None if self.n_iter is None else conditioning_bound(self.n_iter)

    def as_dict(self) -> dict[str, Any]:
        """The spectrum as JSON-ready fields; what is not known is None."""
        return {
            "layer": self.layer,
            "kind": self.kind,
            "read": self.is_read,
            "matrices": self.eigenvalues.shape[0],
            "features": self.eigenvalues.shape[1],
            "n_iter": self.n_iter,
            "condition": self.condition if self.is_read else None,
            "condition_bound": self.bound,
            "eigenvalues": self.eigenvalues.tolist() if self.is_read else None,
        }


def remark_on(layer: LayerSpectrum) -> str:
    """What keeps D from being a healthy whitening, in a few words; "" for nothing."""
    if not layer.is_read:
        return "D is never read"
    if math.isinf(layer.condition):
        return "D is not positive definite"
    if layer.is_identity:
        return "D is the identity: untrained"
    if layer.bound is not None and layer.condition > layer.bound * 1.01:
        return "cond(D) is beyond its bound"
    return ""
