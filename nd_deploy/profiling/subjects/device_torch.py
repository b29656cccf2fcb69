"""A network in PyTorch's eager mode on a GPU, to be timed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nd_deploy import compat
from nd_deploy.compat.cuda_torch import TorchCuda, products_in_tf32
from nd_deploy.errors import BackendError
from nd_deploy.profiling.contestant import TORCH
from nd_deploy.profiling.subjects.returned import as_outputs, tensors_in
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.tensorrt.device import Device
from nd_deploy.runtime.tensorrt.running.buffers import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

# The first runs choose kernels and allocate memory, which cannot be captured.
_RUNS_BEFORE_CAPTURE = 3


class TorchRun:
    """A network with its inputs on the GPU; see `nd_deploy.profiling.subjects.device.DeviceRun`.

    It runs in inference mode, in a stream of its own, which is PyTorch's current one meanwhile.

    Args:
        network: in eval mode, on the processor; it is moved to the GPU.
        feeds: its arguments, in order.
        cuda: how to call CUDA.
        device: the GPU.
        tf32: whether float32 products may be computed in TF32.
        cuda_graph: capture its work once, and replay it.

    Raises:
        BackendError: the GPU has too little memory, or the network fails or cannot be captured.
    """

    waits = False

    def __init__(
        self,
        network: nn.Module,
        feeds: Sequence[NDArray[Any]],
        cuda: TorchCuda,
        device: Device,
        tf32: bool,
        cuda_graph: bool,
    ) -> None:
        self._torch: Any = compat.torch()
        self._cuda = cuda
        self._device = device.index
        self._tf32 = tf32
        self._graph: Any = None
        self._returned: object = ()
        self._received: list[Tensor] = []
        self.memory: Mapping[str, int] = {}
        self.receipt = _receipt(self._torch, device, tf32, cuda_graph)
        cuda.use_device(device.index)
        self._stream = Stream(cuda)
        self.stream = self._stream.handle
        try:
            with self.active():
                self._sent = [self._pinned(array) for array in feeds]
                self._inputs = [self._torch.empty_like(x, device="cuda") for x in self._sent]
                self._network = network.to("cuda")
                self.upload()
                if cuda_graph:
                    self._capture()
        except RuntimeError as error:
            raise _failure(error) from error

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Set its GPU, its stream, its precision and inference mode for this thread."""
        torch = self._torch
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.ExternalStream(self.stream)),
            torch.inference_mode(),
            products_in_tf32(torch, self._tf32),
        ):
            yield

    def upload(self) -> None:
        """Put the copies of all inputs into the stream."""
        for there, here in zip(self._inputs, self._sent, strict=True):
            there.copy_(here, non_blocking=True)

    def enqueue(self) -> None:
        """Call the network, or launch its graph."""
        try:
            if self._graph is None:
                self._returned = self._network(*self._inputs)
            else:
                self._graph.replay()
        except RuntimeError as error:
            raise _failure(error) from error

    def start_download(self) -> None:
        """Put the copies of all outputs into the stream."""
        outputs = tensors_in(self._returned)
        if not self._received:
            empty = self._torch.empty_like
            self._received = [empty(x, device="cpu", pin_memory=True) for x in outputs]
        for here, there in zip(self._received, outputs, strict=True):
            here.copy_(there, non_blocking=True)

    def finish_download(self) -> dict[str, NDArray[Any]]:
        """Wait for these copies, and give every output by name."""
        self._stream.synchronise()
        return as_outputs(self._received)

    def close(self) -> None:
        """Give the GPU's memory back; whatever is under way is waited for."""
        # What went wrong in the stream is told by what waits for a result.
        with contextlib.suppress(BackendError):
            self._stream.synchronise()
        del self._graph, self._network, self._inputs, self._returned, self._sent, self._received
        self._stream.close()
        # PyTorch keeps what is freed, and the next contestant would find less.
        self._torch.cuda.empty_cache()

    def _pinned(self, array: NDArray[Any]) -> Tensor:
        given = self._torch.tensor(array)
        # The network is one of float32.
        dtype = self._torch.float32 if given.is_floating_point() else given.dtype
        pinned: Tensor = self._torch.empty(given.shape, dtype=dtype, pin_memory=True)
        return pinned.copy_(given)

    def _capture(self) -> None:
        for _ in range(_RUNS_BEFORE_CAPTURE):
            self.enqueue()
        self._stream.synchronise()
        graph = self._torch.cuda.CUDAGraph()
        stream = self._torch.cuda.ExternalStream(self.stream)
        # Other threads may do what cannot be captured.
        with self._torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            self.enqueue()
        self._graph = graph


def require_cuda() -> TorchCuda:
    """PyTorch, if it is built for CUDA.

    Raises:
        BackendError: it is not.
        MissingDependencyError: it is not installed.
    """
    torch = compat.torch()
    if torch.version.cuda is None:
        raise BackendError(
            f"torch {torch.__version__} is built without CUDA",
            f"install a build for CUDA as pytorch.org/get-started says, or take --runtime {TORCH}",
        )
    return TorchCuda(torch)


def _receipt(torch: Any, device: Device, tf32: bool, cuda_graph: bool) -> Receipt:  # noqa: ANN401
    return Receipt(
        runtime="torch",
        version=torch.__version__,
        providers_asked=("CUDA",),
        providers_got=("CUDA",),
        options={
            "device": device.name,
            "compute_capability": device.compute_capability,
            "cuda": str(torch.version.cuda),
            "cuda_graph": str(cuda_graph),
        },
        tf32=tf32,
    )


def _failure(error: RuntimeError) -> BackendError:
    """PyTorch raises a RuntimeError for whatever CUDA could not do."""
    return BackendError(
        f"PyTorch failed to run the network on the GPU: {error}",
        "give smaller batches if the memory is too small; if it failed at capturing a CUDA graph, "
        "run it without CUDA graphs",
    )
