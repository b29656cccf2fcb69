"""CUDA through PyTorch, for environments that have it and no cuda-bindings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from nd_deploy.compat import cuda_errors


class TorchCuda:
    """`nd_deploy.compat.cuda.Cuda` on PyTorch, whose objects it keeps by number.

    Args:
        torch: the module, of a build for CUDA.
    """

    def __init__(self, torch: Any) -> None:  # noqa: ANN401 - a module
        self._torch = torch
        self._kept: dict[int, Any] = {}
        self.name = f"torch {torch.__version__}"

    def versions(self) -> tuple[int | None, int | None]:
        """None for the driver's, which PyTorch does not tell, and the runtime's."""
        major, minor, *_ = map(int, str(self._torch.version.cuda).split("."))
        return None, 1000 * major + 10 * minor

    def device_count(self) -> int:
        """How many GPUs there are."""
        with self._named("count the GPUs"):
            self._torch.cuda.init()
            return int(self._torch.cuda.device_count())

    def describe(self, device: int) -> tuple[str, tuple[int, int]]:
        """A GPU's name and compute capability."""
        with self._named(f"look at GPU {device}"):
            facts = self._torch.cuda.get_device_properties(device)
            return str(facts.name), (int(facts.major), int(facts.minor))

    def l2_bytes(self, device: int) -> int:
        """The size of a GPU's second-level cache, in bytes."""
        with self._named(f"look at GPU {device}"):
            return int(self._torch.cuda.get_device_properties(device).L2_cache_size)

    def use_device(self, device: int) -> None:
        """Let this thread's other calls work on that GPU."""
        with self._named(f"use GPU {device}"):
            self._torch.cuda.set_device(device)

    def memory(self) -> tuple[int, int]:
        """The GPU's free and total memory, in bytes."""
        with self._named("ask the GPU's memory"):
            free, total = self._torch.cuda.mem_get_info()
            return int(free), int(total)

    def allocate(self, size: int, purpose: str) -> int:
        """Allocate device memory."""
        try:
            with self._named(f"allocate memory for {purpose}"):
                return self._keep_memory(size, device="cuda")
        except self._torch.cuda.OutOfMemoryError as error:
            raise cuda_errors.out_of_memory(size, *self.memory(), purpose) from error

    def free(self, address: int) -> None:
        """Give device memory back."""
        del self._kept[address]

    def allocate_host(self, size: int, purpose: str) -> int:
        """Allocate pinned host memory."""
        with self._named(f"pin host memory for {purpose}"):
            return self._keep_memory(size, pin_memory=True)

    def free_host(self, address: int) -> None:
        """Give pinned memory back."""
        del self._kept[address]

    def copy_to_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes from pinned to device memory."""
        self._copy("copy to the GPU", target, source, size, stream)

    def copy_to_host(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes from device to pinned memory."""
        self._copy("copy from the GPU", target, source, size, stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes of device memory."""
        self._copy("copy on the GPU", target, source, size, stream)

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """Set `size` bytes of device memory to a value."""
        with self._named("fill the GPU's memory"), self._current(stream):
            self._kept[address][:size].fill_(value)

    def create_stream(self) -> int:
        """Create a stream that does not wait for the default one."""
        with self._named("create a stream"):
            return int(self._torch.cuda.Stream().cuda_stream)

    def free_stream(self, stream: int) -> None:
        """Do nothing: PyTorch keeps its streams, and hands each out several times."""

    def synchronise(self, stream: int) -> None:
        """Wait until everything in the stream is done."""
        with self._named("run what it was given"):
            self._stream(stream).synchronize()

    def create_event(self) -> int:
        """Create an event that takes the time."""
        with self._named("create an event"):
            # Its own handle is made when it is first recorded.
            event = self._torch.cuda.Event(enable_timing=True)
            return self._keep(id(event), event)

    def free_event(self, event: int) -> None:
        """Destroy an event."""
        del self._kept[event]

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream gets there."""
        with self._named("record an event"):
            self._kept[event].record(self._stream(stream))

    def wait_for_event(self, event: int) -> None:
        """Wait until the event has happened."""
        with self._named("run what it was given"):
            self._kept[event].synchronize()

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events that have happened."""
        with self._named("take the time"):
            return float(self._kept[start].elapsed_time(self._kept[end]))

    def begin_capture(self, stream: int) -> None:
        """Record what is put into the stream instead of doing it."""
        with self._named("start to capture a graph"), self._current(stream):
            graph = self._torch.cuda.CUDAGraph()
            # Other threads may do what cannot be captured.
            graph.capture_begin(capture_error_mode="thread_local")
            self._keep(-stream, graph)

    def end_capture(self, stream: int) -> int:
        """Make a graph of what was recorded."""
        graph = self._kept.pop(-stream)
        with self._named("capture a graph"), self._current(stream):
            graph.capture_end()
        return self._keep(id(graph), graph)

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph into a stream."""
        with self._named("launch a graph"), self._current(stream):
            self._kept[graph].replay()

    def free_graph(self, graph: int) -> None:
        """Destroy a graph."""
        del self._kept[graph]

    def _copy(self, task: str, target: int, source: int, size: int, stream: int) -> None:
        with self._named(task), self._current(stream):
            read, written = self._kept[source][:size], self._kept[target][:size]
            written.copy_(read, non_blocking=True)

    def _keep_memory(self, size: int, **place: Any) -> int:  # noqa: ANN401
        memory = self._torch.empty(size, dtype=self._torch.uint8, **place)
        return self._keep(int(memory.data_ptr()), memory)

    def _keep(self, number: int, kept: Any) -> int:  # noqa: ANN401 - any of torch's objects
        self._kept[number] = kept
        return number

    def _stream(self, stream: int) -> Any:  # noqa: ANN401 - a torch.cuda.Stream
        return self._torch.cuda.ExternalStream(stream)

    def _current(self, stream: int) -> Any:  # noqa: ANN401 - a context manager
        return self._torch.cuda.stream(self._stream(stream))

    @contextlib.contextmanager
    def _named(self, task: str) -> Iterator[None]:
        try:
            yield
        except self._torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:  # what PyTorch raises for any CUDA error
            raise cuda_errors.failure(task, type(error).__name__, str(error)) from error


@contextlib.contextmanager
def products_in_tf32(torch: Any, allowed: bool) -> Iterator[None]:  # noqa: ANN401 - a module
    """Let PyTorch compute products and convolutions of float32 in TF32, or not.

    Args:
        torch: the module; since 2.9 it names the precision of each kind of product, before it had
            a switch for each.
        allowed: whether it may; what was set before is set again afterwards.
    """
    parts: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    name, value = "fp32_precision", "tf32" if allowed else "ieee"
    if not all(hasattr(part, name) for part in parts):
        parts = (torch.backends.cuda.matmul, torch.backends.cudnn)
        name, value = "allow_tf32", allowed  # type: ignore[assignment]
    before = [getattr(part, name) for part in parts]
    try:
        for part in parts:
            setattr(part, name, value)
        yield
    finally:
        for part, old in zip(parts, before, strict=True):
            setattr(part, name, old)
