"""Times of the GPU: by its own events, warmed up, contestants in turns.

A call that is recorded into a CUDA graph is timed without the host's part in it; one that is
launched is timed with whatever gaps the host leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import Timings

Call = Callable[[], object]
Measure = Callable[[Call, int], float]

# Enough memory between two uses of one buffer that no cache still holds it.
_BEYOND_CACHE = 3
_MOST_SETS = 24


@dataclass(frozen=True)
class Contestant:
    """Something to time.

    Attributes:
        call: runs it.
        repeats: how many times one call runs it.
    """

    call: Call
    repeats: int = 1


def interleave(
    contestants: Mapping[str, Contestant],
    measure: Measure,
    rounds: int,
    block_seconds: float = 4e-3,
) -> Timings:
    """Time contestants in turns, the order reversed every other round.

    Args:
        contestants: by name.
        measure: seconds that so many calls take.
        rounds: how many turns each gets, after those that warm it up.
        block_seconds: about how long one turn lasts.

    Returns:
        Seconds of running each once.
    """
    counts = {}
    for name, contestant in contestants.items():
        measure(contestant.call, 2)
        once = measure(contestant.call, 3) / 3
        counts[name] = max(1, round(block_seconds / max(once, 1e-7)))
        measure(contestant.call, counts[name])
    names = tuple(contestants)
    seconds = np.empty((rounds, len(names)))
    for turn in range(rounds):
        columns = range(len(names))
        for column in columns if turn % 2 else reversed(columns):
            name = names[column]
            taken = measure(contestants[name].call, counts[name])
            seconds[turn, column] = taken / counts[name] / contestants[name].repeats
    return Timings(names, seconds)


def gpu_seconds(torch: Any) -> Measure:  # noqa: ANN401 - the module
    """Measures with events of the current stream."""

    def measure(call: Call, count: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e-3

    return measure


def host_seconds(call: Call, count: int) -> float:
    """Measures with the host's clock, for trying things out without a GPU."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start


def recorded(torch: Any, calls: Sequence[Call]) -> Contestant:  # noqa: ANN401
    """Calls as one CUDA graph, which is replayed."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in calls[:3]:
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return Contestant(graph.replay, len(calls))


def in_turn(calls: Sequence[Call]) -> Contestant:
    """Calls that are launched one after another, whatever each works on."""

    def all_of_them() -> None:
        for call in calls:
            call()

    return Contestant(all_of_them, len(calls))


def sets_of_buffers(bytes_a_set: int, cache_bytes: int) -> int:
    """How many sets of buffers to go round so that none is found in the cache again."""
    return int(np.clip(-(-_BEYOND_CACHE * cache_bytes // max(bytes_a_set, 1)), 2, _MOST_SETS))
