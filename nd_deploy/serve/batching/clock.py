"""Time, and being called at one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Do without it."""


class Clock(Protocol):
    """What tells the time, in seconds from any moment on."""

    def now(self) -> float:
        """The time; any thread may ask."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Have something called in the loop's thread, which is the caller's.

        Args:
            when: about then; it may be a little early.
            callback: to call.
        """
        ...


class SystemClock:
    """The system's monotonic clock, and the running loop's timers."""

    # A loop's own time is not for this: uvloop keeps it from one turn of the loop to the next.
    now = staticmethod(time.monotonic)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Have something called in the running loop.

        Args:
            when: about then.
            callback: to call.
        """
        # uvloop rounds to milliseconds. At least one keeps a callback that comes too early and
        # asks again from being called without pause.
        milliseconds = max(1, math.ceil(1e3 * (when - self.now())))
        return asyncio.get_running_loop().call_later(milliseconds / 1e3, callback)


class Alarm:
    """One timer for the earliest of many times, instead of a timer for each.

    All methods are called in the loop's thread.

    Args:
        clock: that has the timers.
        ring: called at the earliest of the times asked for, or a little before it; all of them are
            forgotten by then.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._when = math.inf
        self._timer: Timer | None = None

    def ask(self, when: float) -> None:
        """Have it ring at a time, unless it rings before."""
        if when < self._when:
            self.cancel()
            self._when = when
            self._timer = self._clock.call_at(when, self._rings)

    def cancel(self) -> None:
        """Forget every time asked for."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._when = math.inf

    def _rings(self) -> None:
        self.cancel()
        self._ring()
