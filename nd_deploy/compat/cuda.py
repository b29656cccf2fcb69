"""CUDA as the runners need it, through whichever package of this environment has it.

Addresses, streams, events and graphs are whole numbers here, as CUDA itself has them, so that they
can be handed to any library. What frees them is nd_deploy.runtime.tensorrt.running.buffers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Protocol

from nd_deploy.errors import MissingDependencyError

_INSTALL = "pip install 'cuda-bindings>=12.6', of the driver's CUDA version or an older one"


class Cuda(Protocol):
    """What a runner asks of CUDA; every call but the `free` ones raises BackendError if it fails.

    Attributes:
        name: the package and its version.
    """

    name: str

    def versions(self) -> tuple[int | None, int | None]:
        """CUDA's version that the driver takes, 0 without one, and the runtime's; 13000 is 13.0."""

    def device_count(self) -> int:
        """How many GPUs there are; raises if that cannot be found out."""

    def describe(self, device: int) -> tuple[str, tuple[int, int]]:
        """A GPU's name and compute capability."""

    def l2_bytes(self, device: int) -> int:
        """The size of a GPU's second-level cache, in bytes."""

    def use_device(self, device: int) -> None:
        """Let this thread's other calls work on that GPU."""

    def memory(self) -> tuple[int, int]:
        """The GPU's free and total memory, in bytes."""

    def allocate(self, size: int, purpose: str) -> int:
        """Allocate device memory; `size` in bytes, `purpose` for the message if it is too much."""

    def free(self, address: int) -> None:
        """Give device memory back."""

    def allocate_host(self, size: int, purpose: str) -> int:
        """Allocate pinned host memory."""

    def free_host(self, address: int) -> None:
        """Give pinned memory back."""

    def copy_to_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes from pinned to device memory, both from where they were allocated."""

    def copy_to_host(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes from device to pinned memory, both from where they were allocated."""

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy `size` bytes of device memory, both from where they were allocated."""

    def fill(self, address: int, value: int, size: int, stream: int) -> None:
        """Set `size` bytes of device memory, from where it was allocated, to a value up to 255."""

    def create_stream(self) -> int:
        """Create a stream that does not wait for the default one."""

    def free_stream(self, stream: int) -> None:
        """Destroy a stream."""

    def synchronise(self, stream: int) -> None:
        """Wait until everything in the stream is done; raises what went wrong in it."""

    def create_event(self) -> int:
        """Create an event that takes the time."""

    def free_event(self, event: int) -> None:
        """Destroy an event."""

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream gets there."""

    def wait_for_event(self, event: int) -> None:
        """Wait until the event has happened."""

    def elapsed_ms(self, start: int, end: int) -> float:
        """Milliseconds between two events that have happened."""

    def begin_capture(self, stream: int) -> None:
        """Record what is put into the stream instead of doing it."""

    def end_capture(self, stream: int) -> int:
        """Make a graph of what was recorded."""

    def launch(self, graph: int, stream: int) -> None:
        """Put a graph into a stream."""

    def free_graph(self, graph: int) -> None:
        """Destroy a graph."""


def find() -> Cuda:
    """CUDA through cuda-bindings, or else through PyTorch.

    Raises:
        MissingDependencyError: neither is there and works.
    """
    broken = []
    for make in (_from_bindings, _from_torch):
        try:
            cuda = make()
        except Exception as error:  # a broken installation raises anything
            broken.append(f"{type(error).__name__}: {error}")
            continue
        if cuda is not None:
            return cuda
    reason = f" ({'; '.join(broken)})" if broken else ""
    raise MissingDependencyError(
        f"neither cuda-bindings nor a PyTorch built for CUDA is installed and works{reason}",
        f"install it: {_INSTALL}",
    )


def _from_bindings() -> Cuda | None:
    # cuda.bindings.runtime since cuda-bindings 12.6, cuda.cudart in cuda-python before.
    runtime = _first(
        lambda: importlib.import_module("cuda.bindings.runtime"),
        lambda: importlib.import_module("cuda.cudart"),
    )
    if runtime is None:
        return None
    from nd_deploy.compat.cuda_bindings import BindingsCuda

    return BindingsCuda(runtime)


def _from_torch() -> Cuda | None:
    torch = _first(lambda: importlib.import_module("torch"))
    if torch is None or torch.version.cuda is None:
        return None
    from nd_deploy.compat.cuda_torch import TorchCuda

    return TorchCuda(torch)


def _first(*imports: Callable[[], ModuleType]) -> ModuleType | None:
    for load in imports:
        try:
            return load()
        except ModuleNotFoundError:
            continue
    return None
