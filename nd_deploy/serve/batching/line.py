"""The requests that wait, in their order, and which of them run next."""

from __future__ import annotations

from collections import deque

from nd_deploy.serve.batching.job import Job


class Line:
    """Requests that wait for a run.

    One thread at a time may use it.

    Args:
        largest: how many rows requests are joined to; 0 to join none.

    Attributes:
        size: bytes of all their inputs.
        rows: of all of them.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._jobs: deque[Job] = deque()
        self.size = 0
        self.rows = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def fills_batch(self) -> bool:
        """Whether there are rows for a batch that is as large as it may be."""
        return self.rows >= self._largest

    def push(self, job: Job) -> None:
        """Put a request behind all others."""
        self._jobs.append(job)
        self.size += job.size
        self.rows += job.rows

    def remove(self, job: Job) -> bool:
        """Take a request out of the line.

        Returns:
            Whether it was there.
        """
        try:
            self._jobs.remove(job)
        except ValueError:
            return False
        self._forget(job)
        return True

    def take(self, now: float) -> list[Job]:
        """Take out what is to run next.

        That is the oldest request, so that none waits for ever, and with it those behind it that
        have the same open shapes. Of equal shapes none overtakes another. Others stay in their
        order, and what is no longer wanted falls out.

        Args:
            now: the clock's time.

        Returns:
            One request, or several of together at most the largest batch; none if none is wanted.
        """
        batch: list[Job] = []
        passed: list[Job] = []
        rows = 0
        while self._jobs and (not batch or rows < self._largest):
            job = self._jobs.popleft()
            if not job.is_wanted(now):
                self._forget(job)
            elif batch and job.shapes != batch[0].shapes:
                passed.append(job)
            elif batch and rows + job.rows > self._largest:
                self._jobs.appendleft(job)
                break
            else:
                batch.append(job)
                rows += job.rows
                self._forget(job)
        self._jobs.extendleft(reversed(passed))
        return batch

    def clear(self) -> list[Job]:
        """Take out all, in order."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self.size = self.rows = 0
        return jobs

    def _forget(self, job: Job) -> None:
        self.size -= job.size
        self.rows -= job.rows
