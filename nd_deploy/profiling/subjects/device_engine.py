"""An engine of TensorRT or TensorRT-RTX, to be timed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nd_deploy.compat.cuda import Cuda
from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner

if TYPE_CHECKING:
    from numpy.typing import NDArray


class EngineRun:
    """An engine with its inputs on the GPU; see `nd_deploy.profiling.subjects.device.DeviceRun`.

    Args:
        runner: the engine; it belongs to the run from now on.
        feeds: every input by name.
        cuda: how to call CUDA.
        device: CUDA's number of the GPU.

    Raises:
        InputError: an input is not one that the engine takes.
        BackendError: the GPU has too little memory, or the run cannot be captured.
    """

    waits = False

    def __init__(
        self, runner: TensorRTRunner, feeds: Mapping[str, NDArray[Any]], cuda: Cuda, device: int
    ) -> None:
        self._runner = runner
        self._cuda = cuda
        self._device = device
        self._execution = runner.prepare(feeds)
        self.stream = self._execution.stream.handle
        self.receipt = runner.receipt
        self.memory: Mapping[str, int] = self._execution.memory

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make its GPU this thread's."""
        self._cuda.use_device(self._device)
        yield

    def upload(self) -> None:
        """Put the copies of all inputs into the stream."""
        self._execution.upload_again()

    def enqueue(self) -> None:
        """Put one run, or one launch of its graph, into the stream."""
        self._execution.enqueue()

    def start_download(self) -> None:
        """Put the copies of all outputs into the stream."""
        self._execution.start_download()

    def finish_download(self) -> dict[str, NDArray[Any]]:
        """Wait for these copies, and give every output by name."""
        return self._execution.finish_download()

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._execution.close()
        self._runner.close()
        # With them goes the engine, and the memory of its weights.
        del self._execution, self._runner
