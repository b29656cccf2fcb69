"""The stand-in for linear layers with whitened features."""

from __future__ import annotations

from torch import Tensor

from nd_deploy.nd import dialect
from nd_deploy.nd.adapters.base import WeightAdapter


class DelinearAdapter(WeightAdapter):
    """Stands in for a linear layer whose features are whitened.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        mean: running mean, (F,).
        deconv: running D, (F, F).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Trace (..., I) to one NDDelinear."""
        return self.emit(
            dialect.DELINEAR,
            (x, *self.parameters_of_node),
            (*x.shape[:-1], self.weight.shape[0]),
        )
