"""Runs that are not counted, until a model has settled, and what they tell of its pace."""

from __future__ import annotations

from nd_deploy.profiling.results import Method
from nd_deploy.profiling.subjects.base import Clock, Subject
from nd_deploy.profiling.turns import measure_undisturbed

NANOSECONDS = 1e9

# More tell nothing new, and a GPU's events have to be held for each.
MOST_ITERATIONS = 10_000


def warm_up(subject: Subject, method: Method, clock: Clock) -> float:
    """Run a subject for both the least time and the least number of runs.

    Args:
        subject: opened.
        method: says how long.
        clock: the host's.

    Returns:
        The seconds that an iteration takes with all that is done between two of them, from the
        last stretch, which is about half of the whole.
    """
    start = clock()
    done, begun, now = 0, start, start
    least_ns = method.warmup_seconds * NANOSECONDS
    while not done or done < method.warmup_iterations or now - start < least_ns:
        stretch = min(max(done, method.warmup_iterations, 1), MOST_ITERATIONS)
        begun = clock()
        measure_undisturbed(subject, stretch)
        now = clock()
        done += stretch
    return (now - begun) / stretch / NANOSECONDS


def iterations_of_turn(pace: float, method: Method) -> int:
    """How many iterations fill a turn.

    Args:
        pace: seconds of one.
        method: says how long a turn lasts.
    """
    fitting = round(method.turn_seconds / pace) if pace > 0 else MOST_ITERATIONS
    return max(method.turn_iterations, min(fitting, MOST_ITERATIONS))
