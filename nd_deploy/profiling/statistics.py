"""What samples say: distributions, ratios with their intervals, outliers.

A ratio's interval has to hold for the next run of the same comparison too. Turns within one opening
of a model share whatever that opening happened to get, such as where its weights lie in memory, so
the bootstrap draws openings first and turns within them second (Kalibera and Jones, Rigorous
Benchmarking in Reasonable Time, ISMM 2013). Percentiles of so few openings would be too narrow, and
are taken further out, as Hesterberg does for any bootstrap of few values (What Teachers Should Know
About the Bootstrap, The American Statistician 69:4, 2015, section 4.2, "expanded percentile").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nd_deploy.profiling.figures import Ratio, Summary

Rounds: TypeAlias = Sequence[Sequence[float]]
"""For every opening, the median seconds of its turns."""

CONFIDENCE = 0.95
_DRAWS = 5000
_PERCENT = np.arange(101)
# 0.6745 is the 0.75 quantile of the normal distribution: it makes the MAD a standard deviation.
_NORMAL_MAD = NormalDist().inv_cdf(0.75)


class Interval(NamedTuple):
    """An estimate and how far off it may be."""

    estimate: float
    low: float
    high: float


def summarise(samples: NDArray[np.float64]) -> Summary:
    """The distribution of some samples.

    Args:
        samples: (n,) seconds, at least one.

    Returns:
        Percentiles are interpolated linearly; the standard deviation is that of a sample, over
        n - 1, and 0 for a single one.
    """
    quantiles = np.percentile(samples, _PERCENT)
    mean = float(np.mean(samples))
    std = float(np.std(samples, ddof=1)) if len(samples) > 1 else 0.0
    return Summary(
        n=len(samples),
        mean=mean,
        std=std,
        cv=std / mean if mean else 0.0,
        min=float(quantiles[0]),
        p50=float(quantiles[50]),
        p90=float(quantiles[90]),
        p95=float(quantiles[95]),
        p99=float(quantiles[99]),
        max=float(quantiles[100]),
        quantiles=tuple(map(float, quantiles)),
    )


def ratio_of(
    rounds: Rounds,
    over_rounds: Rounds,
    over: str,
    metric: str,
    confidence: float = CONFIDENCE,
) -> Ratio:
    """How a time compares with a baseline's that was taken in turns with it.

    Each round gives one ratio, in which whatever slowed both down cancels.

    Args:
        rounds: of the one.
        over_rounds: of the baseline, the same openings and rounds.
        over: the baseline's name.
        metric: what was taken.
        confidence: of the interval.

    Returns:
        The geometric mean over the openings of their median ratio.
    """
    logarithms = [
        np.log(np.asarray(own) / np.asarray(base))
        for own, base in zip(rounds, over_rounds, strict=True)
    ]
    draws = _draw(logarithms, np.random.default_rng(0))
    found = _interval(_centre(logarithms), draws, _units(logarithms), confidence)
    return Ratio(over, metric, *found, confidence)


def change_of(old_rounds: Rounds, new_rounds: Rounds, confidence: float = CONFIDENCE) -> Interval:
    """How a time compares with one that was taken in another measurement.

    Args:
        old_rounds: of that one.
        new_rounds: of the new one; openings and rounds may be of another number.
        confidence: of the interval.

    Returns:
        new / old, each the geometric mean over the openings of their median.
    """
    old, new = ([np.log(np.asarray(opening)) for opening in r] for r in (old_rounds, new_rounds))
    generator = np.random.default_rng(0)
    draws = _draw(new, generator) - _draw(old, generator)
    units = min(_units(old), _units(new))
    return _interval(_centre(new) - _centre(old), draws, units, confidence)


def outlier_share(turns: Sequence[NDArray[np.float64]], threshold: float) -> float:
    """The share of iterations that lie far from the median of their own turn.

    Args:
        turns: the samples of each turn.
        threshold: of the modified Z-score, 0.6745 (x - median) / MAD, where MAD is the median
            absolute deviation (Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993,
            who suggest 3.5).

    Returns:
        A fraction; a turn whose MAD is 0 has no outliers, since half of it is one value.
    """
    found = 0
    for samples in turns:
        distance = np.abs(samples - np.median(samples))
        mad = float(np.median(distance))
        found += int(np.sum(_NORMAL_MAD * distance > threshold * mad)) if mad else 0
    return found / max(1, sum(map(len, turns)))


def student_quantile(probability: float, freedom: int) -> float:
    """A quantile of Student's t distribution, to at least six digits.

    Args:
        probability: from 0.5 to 0.9999.
        freedom: its degrees of freedom, at least 1.

    Returns:
        The quantile, by bisection of the integral of the density.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)

    def below(value: float) -> float:
        # With t = sqrt(freedom) tan(angle) the density becomes smooth on a bounded range.
        angle = math.atan(value / math.sqrt(freedom))
        cosines = np.cos((nodes + 1) * angle / 2) ** (freedom - 1)
        return 0.5 + scale * math.sqrt(freedom) * angle / 2 * float(weights @ cosines)

    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2


def _centre(openings: Sequence[NDArray[np.float64]]) -> float:
    return float(np.mean([np.median(opening) for opening in openings]))


def _units(openings: Sequence[NDArray[np.float64]]) -> int:
    """How many independent values there are: openings, or the turns of the only one."""
    return len(openings) if len(openings) > 1 else len(openings[0])


def _draw(
    openings: Sequence[NDArray[np.float64]], generator: np.random.Generator
) -> NDArray[np.float64]:
    """(_DRAWS,) centres of data drawn from the data, openings first and turns second."""
    count = len(openings)
    chosen = generator.integers(0, count, (_DRAWS, count))
    medians = np.empty(chosen.shape)
    for number, opening in enumerate(openings):
        places = chosen == number
        turns = generator.integers(0, len(opening), (int(places.sum()), len(opening)))
        medians[places] = np.median(opening[turns], axis=1)
    centres: NDArray[np.float64] = medians.mean(axis=1)
    return centres


def _interval(centre: float, draws: NDArray[np.float64], units: int, confidence: float) -> Interval:
    """The expanded percentile interval of logarithms, as factors."""
    tail = (1 - confidence) / 2
    if units > 1:
        reach = math.sqrt(units / (units - 1)) * student_quantile(1 - tail, units - 1)
        tail = NormalDist().cdf(-reach)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(math.exp(centre), math.exp(min(low, centre)), math.exp(max(high, centre)))
