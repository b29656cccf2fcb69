"""What is timed: a model made ready to be run on the same inputs time and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from nd_deploy.profiling.contestant import Contestant
from nd_deploy.runtime.base import Receipt
from nd_deploy.runtime.options import RunOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

Clock: TypeAlias = Callable[[], int]
"""The host's time in nanoseconds from some moment on, such as time.perf_counter_ns."""

Samples: TypeAlias = "dict[str, NDArray[np.float64]]"
"""By metric, of `nd_deploy.profiling.figures.METRICS`, the seconds of each iteration."""


class NetworkSource(Protocol):
    """Where a trained network comes from, for PyTorch to run."""

    def load(self) -> nn.Module:
        """The network on the CPU, in float32 and eval mode, with its trained weights.

        Raises:
            InputError: it is no longer to be had.
        """
        ...


@dataclass(frozen=True)
class Job:
    """What to open, and how.

    Attributes:
        contestant: as it is asked for.
        model: the ONNX file; None where PyTorch runs the network.
        network: the network; None where a runtime runs the ONNX file.
        options: of the runtime; what the contestant says of CUDA graphs and threads is in them.
        feeds: every input by name, of the contestant's batch, in order of the network's arguments.
    """

    contestant: Contestant
    model: Path | None
    network: NetworkSource | None
    options: RunOptions
    feeds: Mapping[str, NDArray[Any]]


class Subject(Protocol):
    """A model, opened. It belongs to one thread."""

    @property
    def receipt(self) -> Receipt:
        """What it runs with."""
        ...

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes by what they are for; complete once it has run."""
        ...

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Run once, and give every output by name.

        Raises:
            BackendError: the runtime failed.
        """
        ...

    def measure(self, iterations: int) -> Samples:
        """Run so many times, and take the time of each.

        Returns:
            The same metrics every time, latency among them, each of shape (iterations,).

        Raises:
            BackendError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; it is not used again."""
        ...
