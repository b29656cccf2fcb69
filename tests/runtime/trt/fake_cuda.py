"""A GPU made of host memory, whose streams do nothing until somebody waits for them.

What reads a result too early therefore reads zeros, and what is used after it was freed, copied
beyond its end or enqueued while a graph is recorded is noticed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from nd_deploy.compat.cuda_errors import failure, out_of_memory


@dataclass
class FakeStream:
    pending: list = field(default_factory=list)
    recording: list | None = None


class FakeCuda:
    """`nd_deploy.compat.cuda.Cuda` without a GPU.

    Attributes:
        total: bytes of its memory.
        l2: bytes of its second-level cache.
        log: what was called, in order.
        fails: the functions that fail with an error of CUDA's.
    """

    def __init__(self, total=1 << 20, name="NVIDIA H200", capability=(9, 0), count=1):
        self.name = "fake 1.0"
        self.total = total
        self.gpu = (name, capability)
        self.count = count
        self.driver = 13000
        self.l2 = 4096
        self.log = []
        self.fails = set()
        self.device = {}
        self.host = {}
        self.streams = {}
        self.events = {}
        self.graphs = {}
        self.clock = 0.0
        self._numbers = itertools.count(1)

    def versions(self):
        return self.driver, 13000

    def device_count(self):
        self._may_fail("device_count")
        return self.count

    def describe(self, device):
        return self.gpu

    def l2_bytes(self, device):
        return self.l2

    def use_device(self, device):
        self.log.append(f"use {device}")

    def memory(self):
        used = sum(array.nbytes for array in self.device.values())
        return self.total - used, self.total

    def allocate(self, size, purpose):
        free, total = self.memory()
        if size > free:
            raise out_of_memory(size, free, total, purpose)
        return self._memory(self.device, size)

    def free(self, address):
        del self.device[address]

    def allocate_host(self, size, purpose):
        self._may_fail("allocate_host")
        return self._memory(self.host, size)

    def free_host(self, address):
        del self.host[address]

    def copy_to_device(self, target, source, size, stream):
        self._copy(self.device[target], self.host[source], size, stream)

    def copy_to_host(self, target, source, size, stream):
        self._copy(self.host[target], self.device[source], size, stream)

    def copy_on_device(self, target, source, size, stream):
        self._copy(self.device[target], self.device[source], size, stream)

    def fill(self, address, value, size, stream):
        memory = self.device[address]
        assert size <= memory.nbytes
        self.enqueue(stream, lambda: memory[:size].fill(value))

    def create_stream(self):
        return self._number(self.streams, FakeStream())

    def free_stream(self, stream):
        del self.streams[stream]

    def synchronise(self, stream):
        self._may_fail("synchronise")
        stream = self.streams[stream]
        assert stream.recording is None, "nobody may wait for a stream that records"
        pending, stream.pending = stream.pending, []
        for work in pending:
            work()

    def create_event(self):
        return self._number(self.events, None)

    def free_event(self, event):
        del self.events[event]

    def record(self, event, stream):
        self.enqueue(stream, lambda: self.events.update({event: self._tick()}))

    def wait_for_event(self, event):
        for stream in self.streams:
            self.synchronise(stream)

    def elapsed_ms(self, start, end):
        return self.events[end] - self.events[start]

    def begin_capture(self, stream):
        self._may_fail("begin_capture")
        self.streams[stream].recording = []

    def end_capture(self, stream):
        recorded, self.streams[stream].recording = self.streams[stream].recording, None
        self._may_fail("end_capture")
        return self._number(self.graphs, recorded)

    def launch(self, graph, stream):
        self.log.append("launch")
        for work in self.graphs[graph]:
            self.enqueue(stream, work)

    def free_graph(self, graph):
        del self.graphs[graph]

    def enqueue(self, stream, work):
        """Do something when the stream gets there."""
        stream = self.streams[stream]
        (stream.pending if stream.recording is None else stream.recording).append(work)

    @property
    def leaks(self):
        """What was not given back."""
        kinds = ("device", "host", "streams", "events", "graphs")
        return {kind: len(getattr(self, kind)) for kind in kinds if getattr(self, kind)}

    def _copy(self, target, source, size, stream):
        assert size <= min(target.nbytes, source.nbytes)

        def work():
            target[:size] = source[:size]

        self.enqueue(stream, work)

    def _memory(self, kind, size):
        assert size > 0
        array = np.zeros(size, np.uint8)
        kind[array.ctypes.data] = array
        return array.ctypes.data

    def _number(self, kind, thing):
        number = next(self._numbers)
        kind[number] = thing
        return number

    def _tick(self):
        self.clock += 1.5
        return self.clock

    def _may_fail(self, function):
        if function in self.fails:
            raise failure(function, "cudaErrorLaunchFailure", "unspecified launch failure")
