"""Requests that run for so short a time that it takes longer to hand them to a thread.

To wake a worker and be woken by it costs a tenth of a millisecond of processor time and more, most
of it for changes from one thread to the other. A request that runs for less than that is done
sooner in the loop's own thread, and whatever else the loop has to do waits less for it, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from nd_deploy.serve.batching.job import Job

_Key: TypeAlias = tuple[int, tuple[tuple[int, ...], ...]]

# Seconds. What a handover costs is 0.1 to 0.2 ms (docs/serving.md, "What it costs").
LIMIT = 2e-4
# Seconds. A worker's run looks longer than it is, by its waiting for the interpreter's lock and for
# the caches. If it took less than this, a run in the loop's thread tells how long it is.
WORTH_TRYING = 1e-3
# A run that was interrupted took longer than the next will; several in a row were not.
_GROWTH = 2.0
_SUPPOSED = LIMIT / 8
# What was too long is tried again after some hundred runs: the machine may have been busy.
_FADING = 0.999
# Shapes that are remembered; a client may send as many as it likes.
_MOST_SHAPES = 64


@dataclass
class _Times:
    """Seconds that runs of some shapes take.

    Attributes:
        handed_over: of the quickest in a worker's thread.
        here: of those in the loop's thread, as far as they are known.
    """

    handed_over: float = math.inf
    here: float = _SUPPOSED


class ShortRuns:
    """How long a model runs, by the shapes of its inputs: a network works as long on equal ones.

    What has never run is not known to be short.
    """

    def __init__(self) -> None:
        self._times: dict[_Key, _Times] = {}

    def expect(self, job: Job) -> bool:
        """Whether a request will run for less than a handover takes, or it is worth a try."""
        times = self._times.get((job.rows, job.shapes))
        return times is not None and times.here < LIMIT and times.handed_over < WORTH_TRYING

    def note_here(self, job: Job, seconds: float) -> None:
        """Learn from a run in the loop's thread of a request that was expected to be short."""
        times = self._times[job.rows, job.shapes]
        times.here = min(seconds, times.here * _GROWTH)

    def note_handed_over(
        self, rows: int, shapes: tuple[tuple[int, ...], ...], seconds: float
    ) -> None:
        """Learn from a run in a worker's thread.

        Args:
            rows: of the batch.
            shapes: of its inputs without the batch.
            seconds: that it took.
        """
        times = self._times.get((rows, shapes))
        if times is None:
            if len(self._times) >= _MOST_SHAPES:
                del self._times[next(iter(self._times))]
            times = self._times[rows, shapes] = _Times()
        times.handed_over = min(times.handed_over, seconds)
        times.here *= _FADING
