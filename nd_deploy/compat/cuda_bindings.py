"""CUDA through cuda-bindings, or through its forerunner cuda-python."""

from __future__ import annotations

from typing import Any

from nd_deploy.compat import cuda_errors, packages

_OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


class BindingsCuda:
    """`nd_deploy.compat.cuda.Cuda` on the CUDA runtime itself.

    Args:
        runtime: the module `cuda.bindings.runtime` or `cuda.cudart`.
    """

    def __init__(self, runtime: Any) -> None:  # noqa: ANN401 - a module
        self._runtime = runtime
        for distribution in ("cuda-bindings", "cuda-python"):
            version = packages.version_of(distribution)
            if version is not None:
                break
        self.name = f"{distribution} {version or 'of unknown version'}"

    def versions(self) -> tuple[int | None, int | None]:
        """CUDA's version that the driver takes, 0 without one, and the runtime's."""
        driver = self._call("ask the driver's version", "cudaDriverGetVersion")
        return driver, self._call("ask the runtime's version", "cudaRuntimeGetVersion")

    def device_count(self) -> int:
        """How many GPUs there are."""
        return int(self._call("count the GPUs", "cudaGetDeviceCount"))

    def describe(self, device: int) -> tuple[str, tuple[int, int]]:
        """A GPU's name and compute capability."""
        facts = self._call(f"look at GPU {device}", "cudaGetDeviceProperties", device)
        name = facts.name.decode() if isinstance(facts.name, bytes) else str(facts.name)
        return name.rstrip("\0"), (int(facts.major), int(facts.minor))

    def l2_bytes(self, device: int) -> int:
        """The size of a GPU's second-level cache, in bytes."""
        attribute = self._runtime.cudaDeviceAttr.cudaDevAttrL2CacheSize
        return int(self._call(f"look at GPU {device}", "cudaDeviceGetAttribute", attribute, device))

    def use_device(self, device: int) -> None:
        """Let this thread's other calls work on that GPU."""
        self._call(f"use GPU {device}", "cudaSetDevice", device)

    def memory(self) -> tuple[int, int]:
        """The GPU's free and total memory, in bytes."""
        free, total = self._call("ask the GPU's memory", "cudaMemGetInfo")
        return int(free), int(total)

    def allocate(self, size: int, purpose: str) -> int:
        """Allocate device memory."""
        error, address = self._runtime.cudaMalloc(size)
        if self._name(error) == _OUT_OF_MEMORY:
            # Otherwise the next library to ask for the last error would take it for its own.
            self._runtime.cudaGetLastError()
            raise cuda_errors.out_of_memory(size, *self.memory(), purpose)
        self._check(f"allocate memory for {purpose}", error)
        return int(address)

    def free(self, address: int) -> None:
        """Give device memory back; an error here is that of an earlier call, which told it."""
        self._runtime.cudaFree(address)

    def allocate_host(self, size: int, purpose: str) -> int:
        """Allocate pinned host memory."""
        return int(self._call(f"pin host memory for {purpose}", "cudaHostAlloc", size, 0))

    def free_host(self, address: int) -> None:
        """Give pinned memory back."""
        self._runtime.cudaFreeHost(address)

    def copy_to_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes from pinned to device memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("copy to the GPU", "cudaMemcpyAsync", target, source, size, kind, stream)

    def copy_to_host(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes from device to pinned memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("copy from the GPU", "cudaMemcpyAsync", target, source, size, kind, stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes of device memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call("copy on the GPU", "cudaMemcpyAsync", target, source, size, kind, stream)

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """Set `size` bytes of device memory to a value."""
        self._call("fill the GPU's memory", "cudaMemsetAsync", address, value, size, stream)

    def create_stream(self) -> int:
        """Create a stream that does not wait for the default one."""
        flags = self._runtime.cudaStreamNonBlocking
        return int(self._call("create a stream", "cudaStreamCreateWithFlags", flags))

    def free_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._runtime.cudaStreamDestroy(stream)

    def synchronise(self, stream: int) -> None:
        """Wait until everything in the stream is done."""
        self._call("run what it was given", "cudaStreamSynchronize", stream)

    def create_event(self) -> int:
        """Create an event that takes the time."""
        return int(self._call("create an event", "cudaEventCreate"))

    def free_event(self, event: int) -> None:
        """Destroy an event."""
        self._runtime.cudaEventDestroy(event)

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream gets there."""
        self._call("record an event", "cudaEventRecord", event, stream)

    def wait_for_event(self, event: int) -> None:
        """Wait until the event has happened."""
        self._call("run what it was given", "cudaEventSynchronize", event)

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events that have happened."""
        return float(self._call("take the time", "cudaEventElapsedTime", start, end))

    def begin_capture(self, stream: int) -> None:
        """Record what is put into the stream instead of doing it."""
        # Other threads may do what cannot be captured.
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("start to capture a graph", "cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """Make a graph of what was recorded."""
        recorded = self._call("capture a graph", "cudaStreamEndCapture", stream)
        try:
            # cudaGraphInstantiate itself took other arguments before CUDA 12.
            return int(
                self._call("make a graph", "cudaGraphInstantiateWithFlags", int(recorded), 0)
            )
        finally:
            self._runtime.cudaGraphDestroy(recorded)

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph into a stream."""
        self._call("launch a graph", "cudaGraphLaunch", graph, stream)

    def free_graph(self, graph: int) -> None:
        """Destroy a graph."""
        self._runtime.cudaGraphExecDestroy(graph)

    def _call(self, task: str, function: str, *arguments: Any) -> Any:  # noqa: ANN401
        error, *results = getattr(self._runtime, function)(*arguments)
        self._check(task, error)
        return results[0] if len(results) == 1 else tuple(results)

    def _check(self, task: str, error: Any) -> None:  # noqa: ANN401 - a cudaError_t
        if int(error) == 0:
            return
        self._runtime.cudaGetLastError()
        _, text = self._runtime.cudaGetErrorString(error)
        raise cuda_errors.failure(task, self._name(error), _text(text))

    def _name(self, error: Any) -> str:  # noqa: ANN401 - a cudaError_t
        _, name = self._runtime.cudaGetErrorName(error)
        return _text(name)


def _text(said: bytes | str) -> str:
    return said.decode() if isinstance(said, bytes) else str(said)
