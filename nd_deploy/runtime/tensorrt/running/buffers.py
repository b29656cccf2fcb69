"""Memory of the GPU, pinned memory of the host, streams, events and graphs that free themselves.

Each is given back at the end of its `with` block, also on an error, by `close`, which may be called
again, or else when nothing refers to it any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nd_deploy.compat.cuda import Cuda
from nd_deploy.errors import BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Self = TypeVar("Self", bound="_Owned")


class _Owned:
    """Something of CUDA's with one owner.

    Attributes:
        handle: CUDA's number for it.
    """

    def __init__(self, handle: int, free: Callable[[int], None]) -> None:
        self.handle = handle
        self._finalizer = weakref.finalize(self, free, handle)
        # The end of the process frees everything, and by then CUDA may be gone.
        self._finalizer.atexit = False

    def close(self) -> None:
        """Give it back."""
        self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether it was given back."""
        return not self._finalizer.alive

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DeviceBuffer(_Owned):
    """Memory of the GPU.

    Args:
        cuda: how to call CUDA.
        size: in bytes.
        purpose: what for, in words.

    Attributes:
        address: in device memory.
        size: in bytes.

    Raises:
        BackendError: there is too little of it.
    """

    def __init__(self, cuda: Cuda, size: int, purpose: str) -> None:
        # CUDA gives no address for nothing, and a tensor without elements needs one.
        super().__init__(cuda.allocate(max(size, 1), purpose), cuda.free)
        self.size = size

    @property
    def address(self) -> int:
        """Where it begins."""
        return self.handle


class HostBuffer(_Owned):
    """Pinned memory of the host, which copies can read and write while the processor goes on.

    Args:
        cuda: how to call CUDA.
        size: in bytes.
        purpose: what for, in words.

    Attributes:
        size: in bytes.

    Raises:
        BackendError: there is too little of it.
    """

    def __init__(self, cuda: Cuda, size: int, purpose: str) -> None:
        super().__init__(cuda.allocate_host(max(size, 1), purpose), cuda.free_host)
        self.size = size

    @property
    def address(self) -> int:
        """Where it begins."""
        return self.handle

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """The first part of it as an array, which must not be used once it is closed.

        Args:
            dtype: of the elements.
            shape: so that it fits.
        """
        import numpy as np

        if math.prod(shape) * dtype.itemsize > self.size:
            raise ValueError(f"{shape} of {dtype} does not fit into {self.size} bytes")
        memory = (ctypes.c_uint8 * max(self.size, 1)).from_address(self.address)
        array: NDArray[Any] = np.ndarray(shape, dtype, memoryview(memory))
        return array


class Stream(_Owned):
    """A stream of work for the GPU."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__(cuda.create_stream(), cuda.free_stream)
        self._cuda = cuda

    def synchronise(self) -> None:
        """Wait until its work is done.

        Raises:
            BackendError: some of it failed.
        """
        self._cuda.synchronise(self.handle)


class Event(_Owned):
    """A point in a stream's work, whose time is taken."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__(cuda.create_event(), cuda.free_event)
        self._cuda = cuda

    def record(self, stream: Stream) -> None:
        """Let it happen when the stream gets there."""
        self._cuda.record(self.handle, stream.handle)

    def synchronise(self) -> None:
        """Wait until it has happened."""
        self._cuda.wait_for_event(self.handle)

    def ms_since(self, start: Event) -> float:
        """Milliseconds from another event to this one; both have to have happened."""
        return self._cuda.elapsed_ms(start.handle, self.handle)


class Graph(_Owned):
    """Work that was recorded once and is launched as a whole.

    Args:
        cuda: how to call CUDA.
        stream: to record from.
        enqueue: puts the work into it.

    Raises:
        BackendError: it cannot be recorded.
    """

    def __init__(self, cuda: Cuda, stream: Stream, enqueue: Callable[[], None]) -> None:
        cuda.begin_capture(stream.handle)
        try:
            enqueue()
        except BaseException:
            # A stream goes on recording until it is told to end.
            with contextlib.suppress(BackendError):
                cuda.free_graph(cuda.end_capture(stream.handle))
            raise
        super().__init__(cuda.end_capture(stream.handle), cuda.free_graph)
        self._cuda = cuda

    def launch(self, stream: Stream) -> None:
        """Put it into a stream."""
        self._cuda.launch(self.handle, stream.handle)
