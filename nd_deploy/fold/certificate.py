"""What a fold did to a weight, in numbers that predict what it costs in low precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np

from nd_deploy.fold.algebra import Array, condition_number

FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Certificate:
    """The record of one fold W -> W'.

    Attributes:
        growth: max|W'| / max|W|.
        largest: max|W'|.
        float16_headroom: 65504 / max|W'|; under 1 the weight overflows float16.
        condition: cond(D), the worst over the layer's groups.
        storage_error: ||(W' - cast(W')) D^-1||_F / ||W||_F. Whitening by D^-1, which is close to
            the square root of the input's covariance, makes this predict the relative error of the
            layer's output; the plain weight error misses it by cond(D). NaN where D has no
            inverse.
    """

    growth: float
    largest: float
    float16_headroom: float
    condition: float
    storage_error: float

    def as_dict(self) -> dict[str, float]:
        """The record as JSON-ready fields."""
        return asdict(self)


def certify(
    before: Array,
    after: Array,
    deconv: Array,
    unfold: Callable[[Array], Array],
    chunks: Iterable[slice] = (slice(None),),
    storage: np.dtype[np.floating] | type[np.floating] = np.float32,
) -> Certificate:
    """Measure the fold of `before` into `after`.

    Args:
        before: W, of any float dtype.
        after: W' in float64, of the same shape.
        deconv: D, (..., F, F).
        unfold: multiplies rows of an array of W's shape by D^-1 on the side that D was multiplied
            on.
        chunks: along axis 0, which rows `unfold` is given at once.
        storage: the dtype that W' will be stored in.

    Returns:
        The certificate.
    """
    largest, largest_before, size, error = 0.0, 0.0, 0.0, 0.0
    for rows in chunks:
        old, new = before[rows].astype(np.float64), after[rows]
        largest = max(largest, float(np.abs(new).max()))
        largest_before = max(largest_before, float(np.abs(old).max()))
        size += float(np.square(old).sum())
        error += float(np.square(unfold(new - new.astype(storage))).sum())
    return Certificate(
        growth=_ratio(largest, largest_before),
        largest=largest,
        float16_headroom=_ratio(FLOAT16_MAX, largest),
        condition=condition_number(deconv),
        storage_error=_ratio(error, size) ** 0.5,
    )


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
