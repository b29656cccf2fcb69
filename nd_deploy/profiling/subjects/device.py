"""A model on a GPU, timed by the host's clock and by the GPU's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from nd_deploy.compat.cuda import Cuda
from nd_deploy.errors import BackendError
from nd_deploy.profiling.figures import COMPUTE, DOWNLOAD, ENQUEUE, LATENCY, UPLOAD
from nd_deploy.profiling.subjects.base import Clock, Samples
from nd_deploy.profiling.subjects.device_memory import MemoryMark
from nd_deploy.profiling.subjects.device_queue import NANOSECONDS, Seconds, time_in_queue
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.tensorrt.running.buffers import DeviceBuffer

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A stream takes about a thousand launches before the call has to wait for the GPU, and that waiting
# would count as the host's share. A graph is one launch, a network may be hundreds.
IN_FLIGHT, GRAPHS_IN_FLIGHT = 2, 16

_L2_SIZES = 2


class DeviceRun(Protocol):
    """A model in some runtime, with its inputs on the GPU.

    Everything but `close` is called within `active`.

    Attributes:
        stream: CUDA's number of the stream that the copies are in, and the runs if they are not
            waited for.
        waits: whether `enqueue` comes back only when the GPU is done, so that there is nothing to
            be told apart by events.
        receipt: what it runs with.
        memory: what the runtime tells of the GPU's memory, bytes by what they are for.
    """

    stream: int
    waits: bool
    receipt: Receipt
    memory: Mapping[str, int]

    def active(self) -> contextlib.AbstractContextManager[None]:
        """What has to hold while it runs: its GPU and its settings are this thread's."""
        ...

    def upload(self) -> None:
        """Put the copies of all inputs to the GPU into the stream."""
        ...

    def enqueue(self) -> None:
        """Put one run into the stream, of the inputs that are on the GPU."""
        ...

    def start_download(self) -> None:
        """Put the copies of all outputs of the last run into the stream."""
        ...

    def finish_download(self) -> dict[str, NDArray[Any]]:
        """Wait for these copies, and give every output by name, as arrays of their own."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class DeviceSubject:
    """A model on a GPU.

    What is measured, each in a loop of its own:

    * "compute", between events of the GPU around each run, with the next runs already in the queue,
      and "enqueue", the host's time until the call that starts the same run is back; neither for a
      runtime whose call itself waits for the GPU;
    * "latency", by the host's clock from the call until the GPU is done, one run at a time, inputs
      and outputs staying on the GPU;
    * "h2d" and "d2h", between events around the copies of all inputs to the GPU, and of all outputs
      back, between pinned memory of the host and the GPU, with nothing else in the queue. What the
      processor copies to and from pinned memory is not in it.

    Args:
        run: the model.
        cuda: how to call CUDA.
        clock: the host's.
        device: CUDA's number of the GPU.
        before: the memory before the model was opened.
        cold_l2: whether to overwrite twice the size of the second-level cache before every
            iteration of every loop, which is not counted.
        in_flight: how many runs may be in the queue at once.
    """

    def __init__(
        self,
        run: DeviceRun,
        cuda: Cuda,
        clock: Clock,
        *,
        device: int,
        before: MemoryMark,
        cold_l2: bool = False,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._run = run
        self._cuda = cuda
        self._clock = clock
        self._device = device
        self._before = before
        self._cold_l2 = cold_l2
        self._in_flight = in_flight
        self._memory: dict[str, int] = {}
        self._flushed: DeviceBuffer | None = None

    @property
    def receipt(self) -> Receipt:
        """What it runs with."""
        return self._run.receipt

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes by what they are for; complete once it has run.

        "host" and "device" are by how much the process's resident memory grew and the GPU's free
        memory shrank from before the model was opened until after its first run; whatever else
        the GPU did meanwhile is in it. The rest is what the runtime tells.
        """
        return self._memory

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Run once, copies included, and give every output by name.

        Raises:
            BackendError: the runtime failed.
        """
        with self._run.active():
            self._run.upload()
            # The runtime may have a stream of its own.
            self._cuda.synchronise(self._run.stream)
            self._run.enqueue()
            self._run.start_download()
            outputs = self._run.finish_download()
            if not self._memory:
                self._memory = {**self._before.growth(self._cuda), **self._run.memory}
        return outputs

    def measure(self, iterations: int) -> Samples:
        """Run so many times in each loop, and take the time of each.

        The model has run once before, by `outputs`.

        Raises:
            BackendError: the runtime failed, or the GPU has too little memory.
        """
        run = self._run
        with run.active():
            samples = {LATENCY: self._latency(iterations)}
            if not run.waits:
                samples[COMPUTE], samples[ENQUEUE] = self._in_queue(run.enqueue, iterations)
            samples[UPLOAD], _ = self._in_queue(run.upload, iterations)
            samples[DOWNLOAD], _ = self._in_queue(run.start_download, iterations)
        return samples

    def close(self) -> None:
        """Give back what it holds."""
        try:
            self._run.close()
        finally:
            if self._flushed is not None:
                self._flushed.close()

    def _latency(self, iterations: int) -> Seconds:
        import numpy as np

        run, clock = self._run, self._clock
        seconds = np.empty(iterations)
        for index in range(iterations):
            self._flush_l2()
            self._cuda.synchronise(run.stream)
            began = clock()
            run.enqueue()
            if not run.waits:
                self._cuda.synchronise(run.stream)
            seconds[index] = (clock() - began) / NANOSECONDS
        return seconds

    def _in_queue(self, work: Callable[[], None], iterations: int) -> tuple[Seconds, Seconds]:
        return time_in_queue(
            work,
            iterations,
            cuda=self._cuda,
            stream=self._run.stream,
            clock=self._clock,
            depth=self._in_flight,
            before=self._flush_l2,
        )

    def _flush_l2(self) -> None:
        if not self._cold_l2:
            return
        if self._flushed is None:
            self._flushed = self._memory_to_flush()
        self._cuda.fill(self._flushed.address, 0, self._flushed.size, self._run.stream)

    def _memory_to_flush(self) -> DeviceBuffer:
        size = self._cuda.l2_bytes(self._device)
        if not size:
            raise BackendError(
                f"GPU {self._device} does not tell the size of its L2 cache, so that it cannot be "
                "emptied",
                "measure with a warm cache",
            )
        return DeviceBuffer(self._cuda, _L2_SIZES * size, "emptying the L2 cache")
