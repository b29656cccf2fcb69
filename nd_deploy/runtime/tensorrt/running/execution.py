"""An engine made ready to run on some shapes: a context, its buffers and, if asked, its graph."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nd_deploy.compat import packages
from nd_deploy.compat.cuda import Cuda
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.profile import Shape
from nd_deploy.runtime.tensorrt.running.buffers import DeviceBuffer, Graph, HostBuffer, Stream
from nd_deploy.runtime.tensorrt.running.contexts import create_context
from nd_deploy.runtime.tensorrt.running.engine_facts import TensorFacts
from nd_deploy.runtime.tensorrt.running.engine_loading import LoadedEngine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Execution:
    """An execution context with memory for its inputs and outputs.

    It is bound to shapes once or several times, and then run in these steps: `upload`, `enqueue`,
    `download`, each of which can be timed on its own. It belongs to one thread at a time.

    Args:
        loaded: the engine.
        cuda: how to call CUDA; its device is set already.

    Raises:
        BackendError: the GPU has too little memory for it, or TensorRT fails.
    """

    def __init__(self, loaded: LoadedEngine, cuda: Cuda) -> None:
        self._loaded = loaded
        self._cuda = cuda
        self._context = create_context(loaded, cuda)
        self._profile = 0
        self._graph: Graph | None = None
        self._shapes: dict[str, Shape] = {}
        self._tensors: dict[str, _Tensor] = {}
        self.stream = Stream(cuda)

    def bind(self, shapes: Mapping[str, Shape], profile: int) -> None:
        """Make ready for shapes; does nothing if they are those of the last time.

        Args:
            shapes: of every input, within the profile.
            profile: its index.

        Raises:
            BackendError: the GPU has too little memory, the size of an output depends on the
                inputs' values, or TensorRT fails.
        """
        if self._profile == profile and self._shapes == shapes:
            return
        self._loaded.messages.clear()
        self._drop_graph()
        self._shapes = {}
        self._use_profile(profile)
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._failure(f"take the shape {shape} of input '{name}'")
        for tensor in self._loaded.facts.tensors:
            self._place(tensor, self._shape_of(tensor))
        self._shapes = dict(shapes)

    def upload(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Put the inputs into the stream on their way to the GPU.

        Args:
            feeds: every input by name, in the engine's dtypes and the shapes bound.
        """
        # The copies of the last time may still be reading.
        self.stream.synchronise()
        for tensor in self._ports(is_input=True):
            tensor.staged()[...] = feeds[tensor.facts.name]
            tensor.upload(self._cuda, self.stream)

    def upload_again(self) -> None:
        """Put the copies of the inputs uploaded last into the stream once more."""
        for tensor in self._ports(is_input=True):
            tensor.upload(self._cuda, self.stream)

    def enqueue(self, stream: Stream | None = None) -> None:
        """Put one run into a stream, from the inputs uploaded last.

        Args:
            stream: of the same GPU; None for the execution's own, which the copies use too. Wait
                for another one before `download`.

        Raises:
            BackendError: TensorRT fails.
        """
        stream = stream or self.stream
        self._loaded.messages.clear()
        if self._graph is not None:
            self._graph.launch(stream)
        elif not self._context.execute_async_v3(stream.handle):
            raise self._failure("run the engine")

    def synchronise(self) -> None:
        """Wait until the execution's own stream is done.

        Raises:
            BackendError: some of its work failed.
        """
        self.stream.synchronise()

    def download(self) -> dict[str, NDArray[Any]]:
        """Wait for the outputs of the last run.

        Returns:
            Every output by name, as arrays of their own.

        Raises:
            BackendError: the run failed.
        """
        self.start_download()
        return self.finish_download()

    def start_download(self) -> None:
        """Put the copies of the outputs of the last run into the stream."""
        for tensor in self._ports(is_input=False):
            tensor.download(self._cuda, self.stream)

    def finish_download(self) -> dict[str, NDArray[Any]]:
        """Wait for the copies of `start_download`; returns and raises as `download`."""
        self.synchronise()
        outputs = self._ports(is_input=False)
        return {tensor.facts.name: tensor.staged().copy() for tensor in outputs}

    def capture(self) -> None:
        """Make a CUDA graph of the run, which `enqueue` launches until other shapes are bound.

        The inputs have to be uploaded, because TensorRT has to run once before.

        Raises:
            BackendError: the run cannot be captured.
        """
        self.enqueue()
        self.synchronise()
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(self.stream.handle):
            raise BackendError(
                "the engine cannot be captured as a CUDA graph on these shapes: "
                f"{self._loaded.messages.errors()}",
                "run it without CUDA graphs",
            )
        self._graph = Graph(self._cuda, self.stream, self.enqueue)

    def report_layers_to(self, profiler: Any) -> None:  # noqa: ANN401 - an IProfiler
        """Have the time of every layer reported after each run from now on, which slows runs down.

        Args:
            profiler: as of `nd_deploy.compat.trt.make_profiler`.
        """
        self._context.profiler = profiler

    @property
    def captured(self) -> bool:
        """Whether `enqueue` launches a CUDA graph."""
        return self._graph is not None

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of device memory, by what they are for."""
        buffers = sum(tensor.device.size for tensor in self._tensors.values())
        return {
            "activations": self._loaded.facts.device_memory,
            "inputs and outputs": buffers,
        }

    def close(self) -> None:
        """Give everything back; whatever is under way is waited for."""
        # What went wrong in the stream is told by what waits for a result.
        with contextlib.suppress(BackendError):
            if not self.stream.closed:
                self.stream.synchronise()
        self._drop_graph()
        self._context = None
        for tensor in self._tensors.values():
            tensor.close()
        self.stream.close()

    def __enter__(self) -> Execution:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _use_profile(self, profile: int) -> None:
        if profile == self._profile:
            return
        if not self._context.set_optimization_profile_async(profile, self.stream.handle):
            raise self._failure(f"change to profile {profile}")
        self.stream.synchronise()
        self._profile = profile

    def _shape_of(self, tensor: TensorFacts) -> Shape:
        shape = tuple(map(int, self._context.get_tensor_shape(tensor.name)))
        if any(size < 0 for size in shape):
            raise BackendError(
                f"the size of output '{tensor.name}' depends on the values of the inputs: "
                f"{shape} is all that is known of it beforehand",
                "run this model in ONNX Runtime, or leave out that output",
            )
        return shape

    def _place(self, facts: TensorFacts, shape: Shape) -> None:
        known = self._tensors.get(facts.name)
        if known is None or not known.fits(shape):
            if known is not None:
                known.close()
                del self._tensors[facts.name]
            known = self._tensors[facts.name] = _Tensor(self._cuda, facts, shape)
        known.shape = shape
        if not self._context.set_tensor_address(facts.name, known.device.address):
            raise self._failure(f"take memory for '{facts.name}'")

    def _ports(self, is_input: bool) -> list[_Tensor]:
        return [t for t in self._tensors.values() if t.facts.is_input == is_input]

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
        self._graph = None

    def _failure(self, task: str) -> BackendError:
        return BackendError(
            f"TensorRT cannot {task}: {self._loaded.messages.errors()}",
            "check that the shapes suit every layer; if a plugin is loaded, 'nd-deploy plugin "
            "check' tells whether it is the right one",
        )


class _Tensor:
    """An input or an output: its place on the GPU, and its place on the host for copies."""

    def __init__(self, cuda: Cuda, facts: TensorFacts, shape: Shape) -> None:
        self.facts = facts
        self.shape = shape
        self._dtype = numpy_dtype(facts.dtype)
        kind = "input" if facts.is_input else "output"
        purpose = f"{kind} '{facts.name}' of shape {shape}"
        self.device = DeviceBuffer(cuda, self._size(shape), purpose)
        try:
            self._host = HostBuffer(cuda, self._size(shape), purpose)
        except BaseException:
            self.device.close()
            raise

    def fits(self, shape: Shape) -> bool:
        return self._size(shape) <= self.device.size

    def staged(self) -> NDArray[Any]:
        return self._host.array(self._dtype, self.shape)

    def upload(self, cuda: Cuda, stream: Stream) -> None:
        if size := self._size(self.shape):
            cuda.copy_to_device(self.device.address, self._host.address, size, stream.handle)

    def download(self, cuda: Cuda, stream: Stream) -> None:
        if size := self._size(self.shape):
            cuda.copy_to_host(self._host.address, self.device.address, size, stream.handle)

    def close(self) -> None:
        self.device.close()
        self._host.close()

    def _size(self, shape: Iterable[int]) -> int:
        return math.prod(shape) * self._dtype.itemsize


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The dtype of a name, bfloat16 among them.

    Raises:
        MissingDependencyError: it is bfloat16, and ml_dtypes is not installed.
    """
    import numpy as np

    kind = packages.require("ml_dtypes", "tensorrt").bfloat16 if name == "bfloat16" else name
    dtype: np.dtype[Any] = np.dtype(kind)
    return dtype
