"""Layer times, by the ND layer of the network that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from nd_deploy.profiling.figures import LayerTime

K = TypeVar("K", bound=Hashable)


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
    return summed(times, lambda time: time.nd_layer)


def summed(times: Iterable[LayerTime], key: Callable[[LayerTime], K]) -> dict[K, float]:
    """The seconds of layers that have something in common, in the order in which they run.

    Args:
        times: of one model.
        key: says of a layer what it is to be listed under.
    """
    sums: dict[K, float] = {}
    for time in times:
        name = key(time)
        sums[name] = sums.get(name, 0.0) + time.seconds
    return sums
