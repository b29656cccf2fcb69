"""How latencies spread around their median, from their percentiles alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nd_deploy.profiling.figures import Summary

Array = NDArray[np.float64]

_OUTERMOST = 1
"""Percentiles left out at either end: a single hiccup is no part of a shape."""
_TYPICAL = 10
"""The percentile, from either end, up to which most of what there is to see lies."""
_LEAST_REACH, _TAILS = 0.01, 4.0


@dataclass(frozen=True)
class Spread:
    """The distribution of latency / median - 1.

    Attributes:
        shares: the 0th, 1st, ... 100th percentile.
    """

    shares: Array

    @classmethod
    def of(cls, summary: Summary) -> Spread:
        """Of a row's latency."""
        return cls(np.array(summary.quantiles) / summary.p50 - 1)

    @property
    def tail(self) -> float:
        """How far the 99th percentile lies over the median."""
        return float(self.shares[99])

    def density(self, places: Array) -> Array:
        """Estimate the density by Gaussian kernels around the percentiles.

        Args:
            places: (n,) shares over the median.

        Returns:
            (n,) of which the whole integral is 1. The kernels are as wide as Silverman has them
            (Density Estimation for Statistics and Data Analysis, 1986, equation 3.31), and no
            narrower than one of `places` is from the next.
        """
        kept = self.shares[_OUTERMOST : len(self.shares) - _OUTERMOST]
        middle_half = (np.quantile(kept, 0.75) - np.quantile(kept, 0.25)) / 1.34
        scale = min(float(kept.std(ddof=1)), float(middle_half))
        width = max(0.9 * scale * len(kept) ** -0.2, float(places[1] - places[0]))
        kernels = np.exp(-0.5 * ((places[:, None] - kept) / width) ** 2)
        density: Array = kernels.mean(1) / (width * np.sqrt(2 * np.pi))
        return density


def common_reach(spreads: Sequence[Spread]) -> tuple[float, float]:
    """The shares over the median that an axis of some distributions goes from and to.

    A tail out of all proportion is cut off, since it would squeeze everything else flat.
    """
    shares = np.array([spread.shares for spread in spreads])
    return -_end(-shares), _end(shares[:, ::-1])


def _end(shares: Array) -> float:
    """How far an axis reaches to the side at which each row's percentiles (rows, 101) begin."""
    longest = float(shares[:, _OUTERMOST].max())
    typical = _TAILS * float(np.median(shares[:, _TYPICAL]))
    return 1.15 * max(_LEAST_REACH, min(longest, typical))
