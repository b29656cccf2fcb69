"""Counts and durations of one model: one account that metrics and statistics are both told from."""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nd_deploy.serve.batching.observer import Execution

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the histogram of durations."""

ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
"""The upper bounds of the histogram of batches."""


@dataclass
class Duration:
    """How often something happened, and how long that took in all.

    Attributes:
        count: times.
        seconds: of all of them.
    """

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count something that took so long."""
        self.count += count
        self.seconds += seconds


@dataclass
class Histogram:
    """How many values lie up to each of some bounds.

    Attributes:
        bounds: in order; what is over the last has a place of its own.
        counts: of the values between two bounds.
        sum: of all values.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass
class Batch:
    """Executions of one size of batch.

    Attributes:
        joining: the inputs.
        running: the model.
        splitting: the outputs.
    """

    joining: Duration = field(default_factory=Duration)
    running: Duration = field(default_factory=Duration)
    splitting: Duration = field(default_factory=Duration)


class Tally:
    """The account of one model, over all its reloads.

    It is an `Observer` of the model's queue. But for `waiting`, its methods are called in the
    loop's thread alone.

    Args:
        now: the time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.pending = 0
        self.succeeded = Duration()
        self.failed: Counter[str] = Counter()
        self.failing = Duration()
        self.queued = Duration()
        self.joining = Duration()
        self.running = Duration()
        self.splitting = Duration()
        self.rows = 0
        self.executions = 0
        self.batches: dict[int, Batch] = {}
        self.last: float | None = None
        self.durations = Histogram(SECONDS)
        self.sizes = Histogram(tuple(map(float, ROWS)))

    def waiting(self, change: int) -> None:
        """So many more requests wait; called in any thread."""
        with self._lock:
            self.pending += change

    def executed(self, execution: Execution) -> None:
        """A run gave outputs. A batch's durations are each of its requests', as Triton has it."""
        requests = len(execution.waits)
        self.queued.add(sum(execution.waits), requests)
        batch = self.batches.get(execution.rows)
        if batch is None:
            batch = self.batches[execution.rows] = Batch()
        self.joining.add(execution.joining * requests, requests)
        self.running.add(execution.running * requests, requests)
        self.splitting.add(execution.splitting * requests, requests)
        batch.joining.add(execution.joining)
        batch.running.add(execution.running)
        batch.splitting.add(execution.splitting)
        self.rows += execution.rows
        self.executions += 1
        self.sizes.add(execution.rows)
        self.last = self._now()

    def refused(self, reason: str) -> None:
        """Nothing comes of it: what is refused by the queue is told by `fail` too."""

    def succeed(self, seconds: float) -> None:
        """A request was answered.

        Args:
            seconds: from its arrival on.
        """
        self.succeeded.add(seconds)
        self.durations.add(seconds)

    def fail(self, reason: str, seconds: float) -> None:
        """A request was not.

        Args:
            reason: of its refusal, or `nd_deploy.serve.batching.observer.CANCELLED`.
            seconds: from its arrival on.
        """
        self.failed[reason] += 1
        self.failing.add(seconds)
