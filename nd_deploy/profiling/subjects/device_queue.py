"""Times work on a GPU by its own clock, in a queue that does not run empty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from nd_deploy.compat.cuda import Cuda
from nd_deploy.profiling.subjects.base import Clock
from nd_deploy.runtime.tensorrt.running.buffers import Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Seconds: TypeAlias = "NDArray[np.float64]"

MILLISECONDS, NANOSECONDS = 1e3, 1e9


def time_in_queue(
    work: Callable[[], None],
    iterations: int,
    *,
    cuda: Cuda,
    stream: int,
    clock: Clock,
    depth: int,
    before: Callable[[], None] = lambda: None,
) -> tuple[Seconds, Seconds]:
    """Run work time and again without waiting for each, as in service.

    An iteration is put into the stream while the GPU is at the one before. Where that takes the
    host longer than the work itself takes the GPU, the GPU waits between launches, and its time
    contains the waiting.

    Args:
        work: puts one iteration into the stream.
        iterations: how many are timed, after one that is not: it finds the GPU idle, and would be
            timed with its launch.
        cuda: how to call CUDA.
        stream: where the work goes.
        clock: the host's.
        depth: how many iterations may be in the stream at once.
        before: puts into the stream what comes before each iteration and is not counted.

    Returns:
        Between events of the GPU around the work, and by the host's clock until it was put into
        the stream: seconds, each of shape (iterations,).

    Raises:
        BackendError: CUDA or the work failed. The events are given back all the same.
    """
    import numpy as np

    count = iterations + 1
    on_device, on_host = np.empty(count), np.empty(count)
    with contextlib.ExitStack() as held:
        starts, ends = (
            [held.enter_context(Event(cuda)) for _ in range(min(depth, count))] for _ in range(2)
        )

        def wait_for(index: int) -> None:
            start, end = starts[index % depth], ends[index % depth]
            end.synchronise()
            on_device[index] = end.ms_since(start) / MILLISECONDS

        for index in range(count):
            if index >= depth:
                wait_for(index - depth)
            before()
            cuda.record(starts[index % depth].handle, stream)
            began = clock()
            work()
            on_host[index] = (clock() - began) / NANOSECONDS
            cuda.record(ends[index % depth].handle, stream)
        for index in range(max(0, count - depth), count):
            wait_for(index)
    return on_device[1:], on_host[1:]
