"""What a queue tells of itself, for metrics and statistics."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Execution(NamedTuple):
    """A run that gave outputs. Times are seconds.

    What a batch takes is each of its requests' time too: Triton's statistics extension counts
    compute durations by request in the same way.

    Attributes:
        rows: of the batch.
        waits: how long each of its requests waited, from its arrival to the joining.
        joining: how long it took to join the inputs.
        running: how long the model ran.
        splitting: how long it took to divide the outputs.
    """

    rows: int
    waits: tuple[float, ...]
    joining: float
    running: float
    splitting: float


class Observer(Protocol):
    """What is told of everything that happens in a queue.

    A model has a new queue after a reload, while its old one drains; both may have one observer.
    It has to be quick, and must not raise.
    """

    def waiting(self, change: int) -> None:
        """There are more or fewer requests that wait for a run.

        Called in any thread, and by several at once: whoever adds up takes a lock.

        Args:
            change: how many more; below 0 for fewer.
        """
        ...

    def executed(self, execution: Execution) -> None:
        """A run gave outputs; called in the loop's thread."""
        ...

    def refused(self, reason: str) -> None:
        """A request ended without outputs; called in the loop's thread.

        Args:
            reason: `Refusal.reason`, or `CANCELLED` if the client has gone.
        """
        ...


CANCELLED = "cancelled"


class NullObserver:
    """Looks away."""

    def waiting(self, change: int) -> None:
        """Nothing comes of it."""

    def executed(self, execution: Execution) -> None:
        """Nothing comes of it."""

    def refused(self, reason: str) -> None:
        """Nothing comes of it."""
