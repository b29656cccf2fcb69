"""The inputs and outputs of a session at fixed addresses, and runs between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from nd_deploy import compat
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.feeds import Port

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession, RunOptions

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Device:
    """Where buffers lie.

    Attributes:
        kind: "cuda" or "cpu", as ONNX Runtime calls it.
        index: which of them.
    """

    kind: str
    index: int = 0


@dataclass(frozen=True)
class Place:
    """Where an input or an output lies on the device.

    Attributes:
        name: its name.
        is_input: or else an output.
        address: in the device's memory.
        shape: of the tensor.
        dtype: of its elements.
    """

    name: str
    is_input: bool
    address: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class FixedBuffers:
    """The inputs and outputs of a session for one set of shapes, at fixed addresses.

    One thread at a time may use it.

    Args:
        session: to run.
        inputs: (port, shape) of every input; the dtype of each has to be known.
        outputs: the same of every output.
        device: where the buffers are to lie.
        graph: the number under which the provider keeps the captured graph of these shapes; None
            where it does not capture.

    Raises:
        BackendError: the device has too little memory.
    """

    def __init__(
        self,
        session: InferenceSession,
        inputs: Sequence[tuple[Port, Shape]],
        outputs: Sequence[tuple[Port, Shape]],
        device: Device,
        graph: int | None = None,
    ) -> None:
        ort = compat.onnxruntime()
        self._session = session
        self._graph = graph
        self._on_cpu = device.kind == "cpu"
        self._binding = session.io_binding()
        self._dtypes = {port.name: _dtype(port) for port, _ in (*inputs, *outputs)}
        self._options = _run_options(graph)
        self._unwaited: RunOptions | None = None
        try:
            self._inputs, self._outputs = (
                {
                    port.name: ort.OrtValue.ortvalue_from_shape_and_type(
                        list(shape), self._dtypes[port.name].type, device.kind, device.index
                    )
                    for port, shape in ports
                }
                for ports in (inputs, outputs)
            )
        except RuntimeError as error:
            raise BackendError(
                f"ONNX Runtime cannot allocate buffers on {device.kind} {device.index}: {error}",
                "run smaller batches, or free memory of that device",
            ) from error
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def feed(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Copy every input to the device.

        Args:
            feeds: by name, of the shapes and dtypes that the buffers are for.
        """
        import numpy as np

        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(feeds[name]))
        self._binding.synchronize_inputs()

    def run(self) -> None:
        """Compute once, and wait for it.

        Raises:
            BackendError: ONNX Runtime failed.
        """
        try:
            self._session.run_with_iobinding(self._binding, self._options)
            self._binding.synchronize_outputs()
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise _failure(error) from error

    def enqueue(self) -> None:
        """Put one run into the stream of the session, and do not wait for it.

        That holds of the CUDA provider with a `user_compute_stream` and without CUDA graphs. The
        TensorRT provider may wait after each of its engines, and so did, until mid 2026, the
        replay of a graph.

        Raises:
            BackendError: ONNX Runtime failed.
        """
        if self._unwaited is None:
            self._unwaited = _run_options(self._graph)
            self._unwaited.add_run_config_entry("disable_synchronize_execution_providers", "1")
        try:
            self._session.run_with_iobinding(self._binding, self._unwaited)
        except Exception as error:
            raise _failure(error) from error

    def fetch(self) -> dict[str, np.ndarray]:
        """Copy every output back, by name."""
        arrays = {name: value.numpy() for name, value in self._outputs.items()}
        # On the CPU that is the buffer itself, which the next run writes to.
        return {n: a.copy() for n, a in arrays.items()} if self._on_cpu else arrays

    def addresses(self) -> dict[str, int]:
        """Where each input and output lies on the device, by name."""
        return {place.name: place.address for place in self.places()}

    def places(self) -> tuple[Place, ...]:
        """Where each input and output lies, for copies of the caller's own."""
        return tuple(
            Place(name, is_input, value.data_ptr(), tuple(value.shape()), self._dtypes[name])
            for values, is_input in ((self._inputs, True), (self._outputs, False))
            for name, value in values.items()
        )


def _run_options(graph: int | None) -> RunOptions:
    options = compat.onnxruntime().RunOptions()
    if graph is not None:
        options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


def _failure(error: Exception) -> BackendError:
    return BackendError(
        f"ONNX Runtime failed while running the model: {error}",
        "check that the shapes given suit every layer of the model; if it failed at capturing a "
        "CUDA graph, drop --cuda-graph",
    )


def _dtype(port: Port) -> np.dtype[Any]:
    import numpy as np

    if port.dtype is None or port.dtype == "bfloat16":
        raise InputError(
            f"'{port.name}' is of {port.dtype or 'a type without a numpy dtype'}, which numpy "
            "cannot hand over",
            "convert the network with float32 inputs and outputs, or drop --cuda-graph",
        )
    return np.dtype(port.dtype)
