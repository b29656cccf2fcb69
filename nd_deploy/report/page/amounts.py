"""Numbers of a page that stand under each other, with decimal points in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from nd_deploy.report.numbers import Unit, significant

_DIGITS = 3
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def symbol(unit: Unit) -> str:
    """A unit's symbol in print."""
    return "µs" if unit.name == "us" else unit.name


def aligned(values: Sequence[float], by: Callable[[Iterable[float]], float] = min) -> list[str]:
    """Values with as many decimals as give one of them three digits.

    Args:
        values: of one unit.
        by: which of their absolute values that is: `min`, or `max` where those that are small
            beside it do not matter.
    """
    known = [abs(value) for value in values if math.isfinite(value) and value]
    order = math.floor(math.log10(by(known))) if known else _DIGITS
    return [f"{value:.{max(0, _DIGITS - 1 - order)}f}" for value in values]


def scaled(value: float, unit: str, digits: int = _DIGITS) -> str:
    """A large amount with its prefix, such as "90.0 GFLOP/s"."""
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{significant(value / size, digits)} {prefix}{unit}"
    return f"{significant(value, digits)} {unit}".rstrip()
