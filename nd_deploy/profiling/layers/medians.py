"""The median time of each layer over runs."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

WARMUP = 3
"""Runs before those that count: in the first ones runtimes allocate memory and choose kernels."""


def median_of_runs(runs: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """The median over runs of every layer's seconds, 0 in a run that did not reach it.

    Args:
        runs: seconds by layer, at least one run.

    Returns:
        In the order in which the layers were first met.
    """
    keys = dict.fromkeys(key for run in runs for key in run)
    return {key: statistics.median(run.get(key, 0.0) for run in runs) for key in keys}
