"""Runs between buffers that stay where they are, as CUDA graphs need it.

A captured graph reads and writes the addresses that it was captured with. So every set of input
shapes has its own buffers on the device and its own capture, and a run copies in, replays and
copies out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from nd_deploy.errors import BackendError
from nd_deploy.runtime.feeds import Port
from nd_deploy.runtime.ort.buffers import Device, FixedBuffers, Shape

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

Shapes: TypeAlias = tuple[tuple[str, Shape], ...]

_DROP = "run without CUDA graphs, or convert the network for one batch size (--static-batch)"


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


def _show(shapes: Shapes) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes)
