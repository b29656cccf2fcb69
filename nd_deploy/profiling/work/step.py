"""A node that has to run, with the shapes of what it reads and gives."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from nd_deploy.profiling.work.tensors import Tensor


@dataclass(frozen=True)
class Body:
    """The subgraph that a node runs.

    Attributes:
        steps: its nodes that have to run.
        outputs: the names of what it gives.
        trips: how often it runs; None if that depends on the values of an input.
    """

    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    trips: int | None


@dataclass(frozen=True)
class Step:
    """A node that has to run.

    Attributes:
        node: the node.
        reads: the names of its inputs, "" where one is left out; for control flow also of what its
            subgraphs read from around them.
        inputs: the tensors of these names, None where one is left out or not wholly known.
        outputs: the same of what it gives.
        body: what it runs, for control flow that could be followed.
    """

    node: onnx.NodeProto
    reads: tuple[str, ...]
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    body: Body | None = None

    @property
    def is_known(self) -> bool:
        """Whether the shapes of all that it reads and gives are."""
        names, tensors = (*self.reads, *self.node.output), (*self.inputs, *self.outputs)
        return all(t is not None for n, t in zip(names, tensors, strict=True) if n)

    def input(self, index: int) -> Tensor:
        """An input that is given and known."""
        tensor = self.inputs[index]
        assert tensor is not None
        return tensor

    def output(self, index: int = 0) -> Tensor:
        """An output that is given and known."""
        tensor = self.outputs[index]
        assert tensor is not None
        return tensor
