"""Compare the speed of two things in one process, fairly enough for a ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Timings:
    """Seconds a call, one row a round, one column a contestant.

    Attributes:
        names: of the contestants, in column order.
        seconds: (rounds, contestants), the mean of a block of calls.
    """

    names: tuple[str, ...]
    seconds: NDArray[np.float64]

    def median(self, name: str) -> float:
        """Median seconds a call."""
        return float(np.median(self.seconds[:, self.names.index(name)]))

    def ratio(self, name: str, over: str) -> tuple[float, float, float]:
        """Median over the rounds of one contestant's time over another's, with a 95 % interval.

        Each round gives one ratio, so drift of the clock cancels; the interval is a percentile
        bootstrap over the rounds.
        """
        ratios = self.seconds[:, self.names.index(name)] / self.seconds[:, self.names.index(over)]
        draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
        low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
        return float(np.median(ratios)), float(low), float(high)


def interleave(
    contestants: Mapping[str, Callable[[], object]], rounds: int, block_seconds: float = 0.02
) -> Timings:
    """Time contestants in turns, the order reversed every other round.

    Args:
        contestants: calls by name.
        rounds: how many turns each gets, after one that is not counted.
        block_seconds: about how long one turn lasts.
    """
    calls = {}
    for name, call in contestants.items():
        call()
        start = time.perf_counter()
        call()
        once = time.perf_counter() - start
        calls[name] = max(1, round(block_seconds / max(once, 1e-7)))
    names = tuple(contestants)
    seconds = np.empty((rounds + 1, len(names)))
    for turn in range(rounds + 1):
        order = range(len(names)) if turn % 2 else reversed(range(len(names)))
        for column in order:
            call, count = contestants[names[column]], calls[names[column]]
            start = time.perf_counter()
            for _ in range(count):
                call()
            seconds[turn, column] = (time.perf_counter() - start) / count
    return Timings(names, seconds[1:])
