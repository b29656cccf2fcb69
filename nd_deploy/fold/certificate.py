"""What a fold did to a weight, in numbers that predict what it costs in low precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from nd_deploy.fold.algebra import Array
from nd_deploy.fold.conditioning import condition_number

FLOAT16_MAX = float(np.finfo(np.float16).max)
# Of a large weight: enough for a norm to within a few percent.
_SAMPLED_ROWS = 32


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
            layer's output; the plain weight error misses it by cond(D). Of a large
            weight, both norms are taken over a sample of the outputs. NaN where D has no inverse.
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
    rows_apart: bool = False,
    storage: np.dtype[np.floating] | type[np.floating] = np.float32,
) -> Certificate:
    """Measure the fold of `before` into `after`.

    Args:
        before: W, of any float dtype.
        after: W' in float64, of the same shape.
        deconv: D, (..., F, F).
        unfold: multiplies an array of W's shape by D^-1 on the side that D was multiplied on.
        rows_apart: whether `unfold` may be given some rows along axis 0 without the others.
        storage: the dtype that W' will be stored in.

    Returns:
        The certificate.
    """
    rows = slice(None, None, max(1, len(before) // _SAMPLED_ROWS) if rows_apart else 1)
    old, new = before[rows].astype(np.float64), after[rows]
    error = np.linalg.norm(unfold(new - new.astype(storage)))
    largest = _largest(after)
    return Certificate(
        growth=_ratio(largest, _largest(before)),
        largest=largest,
        float16_headroom=_ratio(FLOAT16_MAX, largest),
        condition=condition_number(deconv),
        storage_error=_ratio(float(error), float(np.linalg.norm(old))),
    )


def _largest(array: Array) -> float:
    """max|array|, without a copy of it."""
    return float(max(array.max(), -array.min()))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0
