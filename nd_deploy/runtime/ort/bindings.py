"""Runs between buffers that stay where they are, as CUDA graphs need it.

A captured graph reads and writes the addresses that it was captured with. So every set of input
shapes has its own buffers on the device and its own capture, and a run copies in, replays and
copies out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from nd_deploy import compat
from nd_deploy.errors import BackendError, InputError
from nd_deploy.runtime.feeds import Port

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = tuple[tuple[str, Shape], ...]

_DROP = "run without CUDA graphs, or convert the network for one batch size (--static-batch)"


@dataclass(frozen=True)
class Device:
    """Where buffers lie.

    Attributes:
        kind: "cuda" or "cpu", as ONNX Runtime calls it.
        index: which of them.
    """

    kind: str
    index: int = 0


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
        self._on_cpu = device.kind == "cpu"
        self._binding = session.io_binding()
        self._options = ort.RunOptions()
        if graph is not None:
            self._options.add_run_config_entry("gpu_graph_id", str(graph))
        try:
            self._inputs, self._outputs = (
                {
                    port.name: ort.OrtValue.ortvalue_from_shape_and_type(
                        list(shape), _dtype(port), device.kind, device.index
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
            raise BackendError(
                f"ONNX Runtime failed while running the model: {error}",
                "check that the shapes given suit every layer of the model; if it failed at "
                "capturing a CUDA graph, drop --cuda-graph",
            ) from error

    def fetch(self) -> dict[str, np.ndarray]:
        """Copy every output back, by name."""
        arrays = {name: value.numpy() for name, value in self._outputs.items()}
        # On the CPU that is the buffer itself, which the next run writes to.
        return {n: a.copy() for n, a in arrays.items()} if self._on_cpu else arrays

    def addresses(self) -> dict[str, int]:
        """Where each input and output lies on the device, by name."""
        return {name: value.data_ptr() for name, value in {**self._inputs, **self._outputs}.items()}


class BufferedRuns:
    """A session with buffers for each set of shapes that it has met.

    Where its provider captures CUDA graphs, each set has one of its own.

    Args:
        session: to run.
        inputs: of the model.
        outputs: of the model.
        device: where it runs.
        captures: for how many sets of shapes the provider can capture; None if that is no limit.
    """

    def __init__(
        self,
        session: InferenceSession,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        device: Device,
        captures: int | None = None,
    ) -> None:
        self._session = session
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._device = device
        self._captures = captures
        self._known: dict[Shapes, FixedBuffers] = {}

    def check(self) -> None:
        """Make sure that there can be buffers, before there are shapes.

        Raises:
            BackendError: the sizes of an output do not follow from those of the inputs.
        """
        _check_sizes_follow(self._inputs, self._outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once, between copies; with CUDA graphs, the first run captures.

        Args:
            feeds: as of `Runner.run`, and checked as there.

        Raises:
            BackendError: the provider can capture no more sets of shapes, or failed.
        """
        buffers = self.at({name: array.shape for name, array in feeds.items()})
        buffers.feed(feeds)
        buffers.run()
        return buffers.fetch()

    def at(self, shapes: Mapping[str, Shape]) -> FixedBuffers:
        """The buffers for some shapes, made when they are first asked for.

        Args:
            shapes: of every input, by name.

        Raises:
            BackendError: the provider can capture no more sets of shapes, or the sizes of an output
                do not follow from those of the inputs.
        """
        self.check()
        key = tuple((port.name, tuple(shapes[port.name])) for port in self._inputs)
        if key not in self._known:
            self._known[key] = self._make(key)
        return self._known[key]

    def _make(self, key: Shapes) -> FixedBuffers:
        if self._captures is not None and len(self._known) >= self._captures:
            first = next(iter(self._known))
            raise BackendError(
                f"this provider captures one CUDA graph a session, and that is for {_show(first)}, "
                f"not for {_show(key)}",
                "open another runner for the other shapes, or drop --cuda-graph",
            )
        sizes = {
            size: given
            for port, (_, shape) in zip(self._inputs, key, strict=True)
            for size, given in zip(port.shape or (), shape, strict=False)
            if isinstance(size, str)
        }
        outputs = [(port, resolve_shape(port, sizes)) for port in self._outputs]
        inputs = [(port, shape) for port, (_, shape) in zip(self._inputs, key, strict=True)]
        return FixedBuffers(self._session, inputs, outputs, self._device, len(self._known))


def resolve_shape(port: Port, sizes: Mapping[str, int]) -> Shape:
    """The shape of a port whose open axes have these sizes.

    Args:
        port: of a model.
        sizes: by the names of open axes; every name of the port has to be among them.
    """
    return tuple(size if isinstance(size, int) else sizes[str(size)] for size in port.shape or ())


def _check_sizes_follow(inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    known = {size for port in inputs for size in port.shape or () if isinstance(size, str)}
    for port in outputs:
        follows = port.shape is not None and all(
            isinstance(size, int) or size in known for size in port.shape
        )
        if not follows:
            raise BackendError(
                f"the shape of output '{port.name}' does not follow from the inputs' shapes, so "
                "that it has no fixed buffer",
                _DROP,
            )


def _dtype(port: Port) -> object:
    import numpy as np

    if port.dtype is None or port.dtype == "bfloat16":
        raise InputError(
            f"'{port.name}' is of {port.dtype or 'a type without a numpy dtype'}, which numpy "
            "cannot hand over",
            "convert the network with float32 inputs and outputs, or drop --cuda-graph",
        )
    return np.dtype(port.dtype).type


def _show(shapes: Shapes) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes)
