"""Layer times, by the ND layer of the network that they belong to."""

from __future__ import annotations

from collections.abc import Iterable

from nd_deploy.profiling.figures import LayerTime


def by_nd_layer(times: Iterable[LayerTime]) -> dict[str | None, float]:
    """The time of each ND layer, to hold one model of a network against another.

    It compares layers with each other. The sum over all of them is not a latency: taking the time
    of each slows the run down, and layers may run side by side.

    Args:
        times: of one model.

    Returns:
        Seconds by ND layer, in the order in which they run; those of all that belongs to none are
        under None. An ND layer that has folded into another one is missing.
    """
    sums: dict[str | None, float] = {}
    for time in times:
        sums[time.nd_layer] = sums.get(time.nd_layer, 0.0) + time.seconds
    return sums
