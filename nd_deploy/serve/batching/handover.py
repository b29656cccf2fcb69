"""Where the loop puts requests and the workers' threads take them.

A worker takes its next batch itself as soon as it is done with the last. Were it given one by the
loop, the model would stand still while the loop reads and writes other requests: a fifth to a third
of the throughput of a model of one millisecond, as measured. So the line of waiting requests is
shared, under a lock that nobody holds for long.

Nothing is polled: a worker that finds nothing to run sleeps until it is woken, and is woken only
for something to run or for the end.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from nd_deploy.serve.batching.clock import Clock
from nd_deploy.serve.batching.job import Job
from nd_deploy.serve.batching.line import Line
from nd_deploy.serve.batching.observer import Observer
from nd_deploy.serve.batching.refusals import queue_full, too_large
from nd_deploy.serve.refusal import Refusal


class Handover:
    """The line of waiting requests, between the loop's thread and the workers'.

    Args:
        line: that is empty yet.
        count_limit: how many requests may wait.
        size_limit: how many bytes of inputs.
        clock: by which requests are late.
        observer: told how many wait.
    """

    def __init__(
        self, line: Line, count_limit: int, size_limit: int, clock: Clock, observer: Observer
    ) -> None:
        self._line = line
        self._count_limit = count_limit
        self._size_limit = size_limit
        self._clock = clock
        self._observer = observer
        self._lock = threading.Lock()
        self._held = False
        self._closed = False
        self._running = 0
        self._sleeping = 0
        # An entry wakes one worker; of all that blocks, this costs least.
        self._wakes: SimpleQueue[None] = SimpleQueue()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        with self._lock:
            return not self._line and not self._running

    def refusal(self, job: Job) -> Refusal | None:
        """Why there is no room for a request; 429 or 413.

        Only the loop's thread puts requests in, so that the answer holds until it does.
        """
        if job.size > self._size_limit:
            return too_large(job.size, self._size_limit)
        with self._lock:
            count, size = len(self._line), self._line.size
        if count >= self._count_limit or size + job.size > self._size_limit:
            return queue_full()
        return None

    def put(self, job: Job, *, hold: bool) -> bool:
        """Let a request wait for its run.

        Args:
            job: that there is room for.
            hold: whether the line, if this is the first in it, is held until it fills a batch or
                is released.

        Returns:
            Whether this is the first in a line that is held.
        """
        with self._lock:
            if not self._line:
                self._held = hold
            self._line.push(job)
            if self._line.fills_batch:
                self._held = False
            self._wake_one()
            begins = self._held and len(self._line) == 1
        self._observer.waiting(1)
        return begins

    def release(self) -> None:
        """Hold the line no longer."""
        with self._lock:
            self._held = False
            self._wake_one()

    def remove(self, job: Job) -> None:
        """Take a request out of the line, if it still waits."""
        with self._lock:
            removed = self._line.remove(job)
        if removed:
            self._observer.waiting(-1)

    def take(self) -> list[Job] | None:
        """What the calling worker is to run next; it sleeps until there is something.

        Returns:
            Requests to join, which count as running until they are `finished`; None at the end.
        """
        while True:
            with self._lock:
                if self._closed:
                    return None
                batch, gone = self._take_ready()
            if gone:
                self._observer.waiting(-gone)
            if batch:
                return batch
            self._wakes.get()

    def finished(self, count: int) -> None:
        """Some of the requests that were taken run no longer."""
        with self._lock:
            self._running -= count

    def close(self) -> list[Job]:
        """End the line and wake all workers.

        Returns:
            What still waited.
        """
        with self._lock:
            self._closed = True
            jobs = self._line.clear()
            while self._sleeping:
                self._wake()
        self._observer.waiting(-len(jobs))
        return jobs

    def _take_ready(self) -> tuple[list[Job], int]:
        # Also says how many wait no longer: those that nobody wants any more are not in the batch.
        before = len(self._line)
        batch = [] if self._held else self._line.take(self._clock.now())
        if batch:
            self._running += len(batch)
            self._wake_one()
        else:
            self._sleeping += 1
        return batch, before - len(self._line)

    def _wake_one(self) -> None:
        if self._line and self._sleeping and not self._held:
            self._wake()

    def _wake(self) -> None:
        self._sleeping -= 1
        self._wakes.put(None)
