"""The stand-in for linear layers with whitened features."""

from __future__ import annotations

from torch import Tensor

from nd_deploy.nd import dialect
from nd_deploy.nd.adapters.base import Adapter, or_zeros


class DelinearAdapter(Adapter):
    """Stands in for a linear layer whose features are whitened.

    Args:
        weight: (O, I).
        bias: (O,) or None.
        mean: running mean, (F,).
        deconv: running D, (F, F).
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    deconv: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, mean: Tensor, deconv: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", or_zeros(bias, weight))
        self.register_buffer("mean", mean)
        self.register_buffer("deconv", deconv)

    def forward(self, x: Tensor) -> Tensor:
        """Trace (..., I) to one NDDelinear."""
        return self.emit(
            dialect.DELINEAR,
            (x, self.weight, self.bias, self.mean, self.deconv),
            (*x.shape[:-1], self.weight.shape[0]),
        )
