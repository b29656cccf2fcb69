"""Numbers as text: as many digits as they are good for, and one unit for a whole column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_DECIMALS = 6
_SHORTEST_IN_MS = 1e-4


@dataclass(frozen=True)
class Unit:
    """What numbers of one kind are counted in.

    Attributes:
        name: such as "ms".
        size: how much one of it is, in the base unit.
    """

    name: str
    size: float

    def of(self, value: float) -> str:
        """A value of the base unit, to three digits and without the unit's name."""
        return significant(value / self.size)


MICROSECONDS, MILLISECONDS = Unit("us", 1e-6), Unit("ms", 1e-3)


def time_unit(seconds: Iterable[float]) -> Unit:
    """The unit for times that stand beside each other: the shortest decides."""
    shortest = min((time for time in seconds if time > 0), default=1.0)
    return MILLISECONDS if shortest >= _SHORTEST_IN_MS else MICROSECONDS


def significant(value: float, digits: int = 3) -> str:
    """A number to so many digits, never with an exponent; whole digits are all kept."""
    if not math.isfinite(value):
        return f"{value:g}"
    if value == 0:
        return "0"
    # Rounded first, since 9.996 has one decimal less than its logarithm says.
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{decimals}f}"


def interval(estimate: float, low: float, high: float) -> str:
    """A ratio with its interval, "0.71 [0.70, 0.72]".

    It has two decimals, or as many more as it takes to tell the ends apart from each other and
    from 1.
    """
    # One percent of it where the ends are equal, so that the digits do not end before they begin.
    gaps = [high - low or abs(estimate) / 100, abs(low - 1), abs(high - 1)]
    least = min((gap for gap in gaps if math.isfinite(gap) and gap > 0), default=1.0)
    decimals = min(max(2, math.ceil(-math.log10(least))), _MOST_DECIMALS)
    return f"{estimate:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def percent(share: float) -> str:
    """A share of 1, as percent: "41 %"."""
    return f"{significant(100 * share, 2)} %"
