"""A model in ONNX Runtime's CUDA or TensorRT provider, to be timed.

Events tell the time of a run only where they stand in the same stream, and where the call does not
itself wait for the GPU: then the second event would be recorded by a host that has just woken up.
Of the CUDA provider both hold with a stream of ours (`user_compute_stream`), inputs and outputs
bound to the GPU, and the run's entry "disable_synchronize_execution_providers". Elsewhere one
cannot rely on them: until mid 2026 the replay of a CUDA graph waited in spite of that entry
(microsoft/onnxruntime, pull request 28686), and the TensorRT provider waits after each engine of a
model that it has cut into several, which a session does not tell. There the latency is measured,
and the copies, but neither the computation on the GPU nor the host's share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nd_deploy.compat.cuda import Cuda
from nd_deploy.compat.cuda_torch import TorchCuda
from nd_deploy.errors import BackendError, MissingDependencyError
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.onnxruntime import OnnxRuntimeRunner
from nd_deploy.runtime.ort.buffers import Place
from nd_deploy.runtime.tensorrt.running.buffers import HostBuffer, Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STREAM = ".user_compute_stream"


class OrtRun:
    """A session with its inputs on the GPU; see `nd_deploy.profiling.subjects.device.DeviceRun`.

    Args:
        runner: the model.
        feeds: every input by name.
        cuda: how to call CUDA.
        device: CUDA's number of the GPU.
        stream: for the copies, and for the runs too unless they are waited for; it belongs to the
            run from now on.
        waits: whether each run is waited for.

    Raises:
        InputError: an input is not one that the model takes.
        BackendError: the GPU or the host has too little memory, or the sizes of an output do not
            follow from those of the inputs.
    """

    def __init__(
        self,
        runner: OnnxRuntimeRunner,
        feeds: Mapping[str, NDArray[Any]],
        cuda: Cuda,
        device: int,
        stream: Stream,
        waits: bool,
    ) -> None:
        self._cuda = cuda
        self._device = device
        self._stream = stream
        self._buffers = runner.prepare(feeds)
        self._pinned = _Pinned(cuda, self._buffers.places(), feeds)
        self.stream = stream.handle
        self.waits = waits
        self.receipt = _without_address(runner.receipt)
        self.memory: Mapping[str, int] = {"inputs and outputs": self._pinned.size}

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make its GPU this thread's."""
        self._cuda.use_device(self._device)
        yield

    def upload(self) -> None:
        """Put the copies of all inputs into the stream."""
        self._pinned.upload(self.stream)

    def enqueue(self) -> None:
        """Put one run into the stream, or run once and wait."""
        if self.waits:
            self._buffers.run()
        else:
            self._buffers.enqueue()

    def start_download(self) -> None:
        """Put the copies of all outputs into the stream."""
        self._pinned.download(self.stream)

    def finish_download(self) -> dict[str, NDArray[Any]]:
        """Wait for these copies, and give every output by name."""
        self._stream.synchronise()
        return self._pinned.outputs()

    def close(self) -> None:
        """Give the GPU's memory back; whatever is under way is waited for."""
        # What went wrong in the stream is told by what waits for a result.
        with contextlib.suppress(BackendError):
            self._stream.synchronise()
        self._pinned.close()
        # The session must not outlive the stream that it computes in.
        del self._buffers
        self._stream.close()


def require_copies(cuda: Cuda) -> None:
    """Refuse a package for CUDA that copies to no memory but its own.

    Raises:
        MissingDependencyError: it is PyTorch.
    """
    if isinstance(cuda, TorchCuda):
        raise MissingDependencyError(
            f"{cuda.name} cannot copy to ONNX Runtime's buffers, and there is no other package "
            "for CUDA",
            "install it: pip install 'cuda-bindings>=12.6', of the driver's CUDA version or an "
            "older one",
        )


class _Pinned:
    """The pinned memory of the host from which and to which a model's tensors are copied.

    Attributes:
        size: of all tensors, in bytes.
    """

    def __init__(
        self, cuda: Cuda, places: tuple[Place, ...], feeds: Mapping[str, NDArray[Any]]
    ) -> None:
        self._cuda = cuda
        self._places = places
        self._memory: dict[str, HostBuffer] = {}
        self.size = sum(place.size for place in places)
        try:
            for place in places:
                purpose = f"copies of '{place.name}' of shape {place.shape}"
                self._memory[place.name] = HostBuffer(cuda, place.size, purpose)
                if place.is_input:
                    self._array(place)[...] = feeds[place.name]
        except BaseException:
            self.close()
            raise

    def upload(self, stream: int) -> None:
        for place in self._places:
            if place.is_input and place.size:
                host = self._memory[place.name].address
                self._cuda.copy_to_device(place.address, host, place.size, stream)

    def download(self, stream: int) -> None:
        for place in self._places:
            if not place.is_input and place.size:
                host = self._memory[place.name].address
                self._cuda.copy_to_host(host, place.address, place.size, stream)

    def outputs(self) -> dict[str, NDArray[Any]]:
        return {p.name: self._array(p).copy() for p in self._places if not p.is_input}

    def close(self) -> None:
        for memory in self._memory.values():
            memory.close()

    def _array(self, place: Place) -> NDArray[Any]:
        return self._memory[place.name].array(place.dtype, place.shape)


def _without_address(receipt: Receipt) -> Receipt:
    """The stream's address is another one in every process, and says nothing."""
    kept = {k: v for k, v in receipt.options.items() if not k.endswith(_STREAM)}
    return replace(receipt, options=kept)
