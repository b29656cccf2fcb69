"""Times of layers in PyTorch, by hooks before and after the call of each module."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from nd_deploy.profiling.contestant import TORCH_CUDA
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers.attribution import nd_layer_of
from nd_deploy.profiling.layers.medians import WARMUP, median_of_runs
from nd_deploy.profiling.subjects.base import Clock, Job, NetworkSource

if TYPE_CHECKING:
    from torch import nn


class _Module(NamedTuple):
    path: str
    kind: str


@dataclass
class _Stopwatch:
    """Takes moments around calls of modules, and tells the time between them after a run.

    Attributes:
        moment: gives the present moment, of the host or of the GPU's stream.
        between: the seconds from one moment to another.
        calls: of this run: module, start and end.
    """

    moment: Callable[[], Any]
    between: Callable[[Any, Any], float]
    calls: list[tuple[_Module, Any, Any]] = field(default_factory=list)

    def run_times(self) -> dict[_Module, float]:
        """Seconds by module of the run that is over, a module's calls summed."""
        sums: dict[_Module, float] = {}
        for module, start, end in self.calls:
            sums[module] = sums.get(module, 0.0) + self.between(start, end)
        self.calls.clear()
        return sums


@dataclass(frozen=True)
class _Watched:
    """A source of a network whose modules are watched.

    Attributes:
        network: the source.
        watch: prepares the network that it gives.
    """

    network: NetworkSource
    watch: Callable[[nn.Module], None]

    def load(self) -> nn.Module:
        network = self.network.load()
        self.watch(network)
        return network


def torch_layer_times(
    job: Job, runs: int, nd_layers: Sequence[str], clock: Clock
) -> tuple[LayerTime, ...]:
    """Take the time of every module that has no others in it; see `layer_times`.

    An ND layer counts as one, whatever it is made of. Functions that a network calls between its
    modules, such as an addition, are not seen.
    """
    from nd_deploy.profiling.subjects.opening import open_subject

    assert job.network is not None
    stopwatch = _gpu_stopwatch() if job.contestant.runtime == TORCH_CUDA else _stopwatch(clock)
    handles: list[Any] = []

    def watch(network: nn.Module) -> None:
        for module, path in _layers(network, nd_layers):
            handles.extend(_hook(module, _Module(path, type(module).__name__), stopwatch))

    options = replace(job.options, cuda_graph=False)
    watched = replace(job, options=options, network=_Watched(job.network, watch))
    times = []
    try:
        with contextlib.closing(open_subject(watched, clock)) as subject:
            for _ in range(WARMUP + runs):
                subject.outputs()
                times.append(stopwatch.run_times())
    finally:
        # The network may be one that its owner goes on using.
        for handle in handles:
            handle.remove()
    return tuple(
        LayerTime(module.path, module.kind, seconds, nd_layer_of(module.path, nd_layers))
        for module, seconds in median_of_runs(times[WARMUP:]).items()
    )


def _layers(network: nn.Module, nd_layers: Sequence[str]) -> Iterator[tuple[nn.Module, str]]:
    for path, module in network.named_modules():
        layer = nd_layer_of(path, nd_layers)
        is_leaf = next(module.children(), None) is None
        if path == layer or (is_leaf and layer is None):
            yield module, path


def _hook(module: nn.Module, name: _Module, stopwatch: _Stopwatch) -> tuple[Any, Any]:
    starts: list[Any] = []

    # Functions, because the network is copied, and a copy keeps hooks that are functions.
    def before(called: nn.Module, arguments: object) -> None:
        starts.append(stopwatch.moment())

    def after(called: nn.Module, arguments: object, returned: object) -> None:
        end = stopwatch.moment()
        stopwatch.calls.append((name, starts.pop(), end))

    return module.register_forward_pre_hook(before), module.register_forward_hook(after)


def _stopwatch(clock: Clock) -> _Stopwatch:
    return _Stopwatch(clock, lambda start, end: (end - start) / 1e9)


def _gpu_stopwatch() -> _Stopwatch:
    """Moments of the GPU's own time; they have passed once the outputs have been copied."""
    import torch

    def moment() -> Any:  # noqa: ANN401 - an event of PyTorch's
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    return _Stopwatch(moment, lambda start, end: start.elapsed_time(end) / 1e3)
