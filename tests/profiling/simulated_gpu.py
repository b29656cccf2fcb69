"""A GPU that takes a known time for everything, on a clock that only it moves."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "runtime" / "trt"))

from fake_cuda import FakeCuda

from nd_deploy.runtime.base import Receipt

COMPUTE, LAUNCH, FILL, UPLOAD, DOWNLOAD = 10_000, 3_000, 70_000, 2_000, 1_000
"""Nanoseconds."""


class SimulatedCuda(FakeCuda):
    """`nd_deploy.compat.cuda.Cuda` whose streams work one thing after the other.

    Attributes:
        now: the host's time, in nanoseconds.
        compute: how long the GPU takes for one run.
        launch: how long the host takes to launch one.
        free_at: by stream, when it is done with what it has.
        ends: when each run is done.
        most: how many runs were under way at once.
        fills: (address, bytes) of every fill.
    """

    def __init__(self, compute=COMPUTE, launch=LAUNCH, **facts):
        super().__init__(**facts)
        self.now = 0
        self.compute, self.launch_cost = compute, launch
        self.free_at, self.ends, self.fills = {}, [], []
        self.most = 0

    def host_time(self):
        return self.now

    def work(self, stream, duration):
        """Put something into a stream; returns when it is done."""
        begins = max(self.now, self.free_at.get(stream, 0))
        self.free_at[stream] = begins + duration
        return self.free_at[stream]

    def enqueue(self, stream, work):
        """One run."""
        super().enqueue(stream, work)
        if self.streams[stream].recording is None:
            self.now += self.launch_cost
            self.ends.append(self.work(stream, self.compute))
            self.most = max(self.most, sum(end > self.now for end in self.ends))

    def synchronise(self, stream):
        super().synchronise(stream)
        self.now = max(self.now, self.free_at.get(stream, 0))

    def record(self, event, stream):
        before = self.events[event]
        assert before is None or before <= self.now, "nobody has waited for this event"
        self.events[event] = max(self.now, self.free_at.get(stream, 0))

    def wait_for_event(self, event):
        self._may_fail("wait_for_event")
        self.now = max(self.now, self.events[event])

    def elapsed_ms(self, start, end):
        times = [self.events[event] for event in (start, end)]
        assert max(times) <= self.now, "it has not happened yet"
        return (times[1] - times[0]) / 1e6

    def copy_to_device(self, target, source, size, stream):
        self._timed_copy(self.device[target], self.host[source], size, stream, UPLOAD)

    def copy_to_host(self, target, source, size, stream):
        self._timed_copy(self.host[target], self.device[source], size, stream, DOWNLOAD)

    def fill(self, address, value, size, stream):
        assert size <= self.device[address].nbytes
        self.fills.append((address, size))
        self.work(stream, FILL)

    def _timed_copy(self, target, source, size, stream, duration):
        FakeCuda.enqueue(self, stream, lambda: np.copyto(target[:size], source[:size]))
        self.work(stream, duration)


class ScriptedRun:
    """A `DeviceRun` that doubles one number.

    Attributes:
        steps: what it was asked to do, in order.
        fails_at: the number of the run that fails.
    """

    waits = False

    def __init__(self, cuda, fails_at=None):
        self.cuda = cuda
        self.stream = cuda.create_stream()
        self.receipt = Receipt("scripted", "1", ("CUDA",), ("CUDA",))
        self.memory = {"activations": 7}
        self.steps = []
        self.fails_at = fails_at
        self.runs = 0

    @contextlib.contextmanager
    def active(self):
        self.steps.append("enter")
        yield
        self.steps.append("leave")

    def upload(self):
        self.steps.append("upload")
        self.cuda.work(self.stream, UPLOAD)

    def enqueue(self):
        self.steps.append("enqueue")
        self.runs += 1
        if self.runs == self.fails_at:
            self.cuda.fails.add("synchronise")
            self.cuda.synchronise(self.stream)
        self.cuda.enqueue(self.stream, lambda: None)
        if self.waits:
            self.cuda.synchronise(self.stream)

    def start_download(self):
        self.steps.append("download")
        self.cuda.work(self.stream, DOWNLOAD)

    def finish_download(self):
        self.cuda.synchronise(self.stream)
        return {"y": np.array([2.0])}

    def close(self):
        self.cuda.free_stream(self.stream)
