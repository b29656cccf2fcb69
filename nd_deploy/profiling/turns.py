"""One contestant's turn, and who is next."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from nd_deploy.profiling.subjects.base import Samples, Subject

# Another contestant's turn leaves its own weights in the caches, and its own habits in the branch
# predictors. Convolutional networks of 20 us to 4 ms, of which two took turns on one core, needed
# 5 to 8 % longer for the first run of a turn, and 2 to 5 % for the second. Counted, that would be a
# property of the neighbour and of the turn's length.
UNCOUNTED = 2


def order_of_turns(number: int, contestants: int) -> list[int]:
    """Whose turns follow each other in a round.

    Every other round is reversed, so that a machine that steadily gets slower, or faster, favours
    nobody.

    Args:
        number: of the round, counted over all openings.
        contestants: how many there are.
    """
    order = list(range(contestants))
    return order[::-1] if number % 2 else order


def take_turn(subject: Subject, iterations: int) -> Samples:
    """Run a subject after some other one, without the runs that still feel the other.

    Returns:
        Of so many iterations.
    """
    samples = measure_undisturbed(subject, UNCOUNTED + iterations)
    return {metric: seconds[UNCOUNTED:] for metric, seconds in samples.items()}


def measure_undisturbed(subject: Subject, iterations: int) -> Samples:
    """Run a subject while Python collects no garbage, which may take longer than an iteration."""
    with _no_collection():
        return subject.measure(iterations)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
