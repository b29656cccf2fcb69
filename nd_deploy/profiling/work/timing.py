"""How much a machine does in a second, from the least time of several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nd_deploy.profiling.subjects.base import Clock

_SECONDS = 0.25
_LEAST, _MOST = 3, 50

Timer = Callable[[int], float]
"""Repeats some work so many times, and gives the shortest time in seconds."""


@dataclass(frozen=True)
class Rate:
    """How much a machine does in a second.

    Attributes:
        per_s: floating point operations or bytes.
        how: it was measured, in words.
    """

    per_s: float
    how: str


def least_seconds(timer: Timer) -> float:
    """The shortest of as many repetitions as a quarter of a second has room for, at least three.

    Whatever else a machine does only makes work slower, so that the shortest time is the nearest
    to what the machine can do.
    """
    first = timer(1)
    return timer(min(max(int(_SECONDS / first), _LEAST), _MOST))


def on_host(work: Callable[[], object], clock: Clock) -> Timer:
    """Times work that is over when it returns, by the host's clock."""

    def timer(times: int) -> float:
        shortest = float("inf")
        for _ in range(times):
            began = clock()
            work()
            # A clock may not tell times apart that are shorter than its step.
            shortest = min(shortest, max(clock() - began, 1) / 1e9)
        return shortest

    return timer
