"""The device's state in the course of a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

from nd_deploy.profiling.environment.cpufreq import CpuClock
from nd_deploy.profiling.environment.jetson import is_jetson
from nd_deploy.profiling.environment.jetson_sensors import JetsonSensors, gpu_folder
from nd_deploy.profiling.environment.nvml import open_gpu
from nd_deploy.profiling.environment.record import Sample
from nd_deploy.profiling.environment.state import NotSampled, Source, State, filled
from nd_deploy.profiling.environment.tegrastats import start_tegrastats


class Sampler:
    """Takes a sample a call, in the calling thread: another one would disturb what is timed.

    Args:
        sources: what tells of the device; where several tell the same, the first one counts.
        clock: the host's time in nanoseconds; the measurement begins now.
        problems: what stays unknown.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        clock: Callable[[], int] = time.perf_counter_ns,
        problems: Sequence[NotSampled] = (),
    ) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._begin = clock()
        self._samples: list[Sample] = []
        self.problems = tuple(problems)

    def __call__(self, row: str) -> None:
        """Take a sample, where there is anything that tells of the device.

        Args:
            row: whose turn has just ended, by name.
        """
        seconds = (self._clock() - self._begin) * 1e-9
        state = reduce(filled, (source.read() for source in self._sources), State())
        if state != State():
            self._samples.append(Sample(seconds, row, **vars(state)))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Those taken, in order of time."""
        return tuple(self._samples)

    def close(self) -> None:
        """Give back what the sources hold."""
        for source in self._sources:
            source.close()


def start_sampling(
    device: int | None,
    root: Path = Path("/"),
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Sampler:
    """Find what tells of the device, and begin.

    Args:
        device: CUDA's number of the GPU that takes part; None if none does.
        root: of the file tree.
        clock: the host's time in nanoseconds.

    Returns:
        The sampler, to be closed.
    """
    found = [*_board(root), *_gpu(device, root), CpuClock(root)]
    sources = [source for source in found if not isinstance(source, NotSampled)]
    problems = [problem for problem in found if isinstance(problem, NotSampled)]
    return Sampler(sources, clock, problems)


def _board(root: Path) -> list[Source | NotSampled]:
    if not is_jetson(root):
        return []
    sensors = JetsonSensors(root)
    return [sensors] if sensors.has_rails else [sensors, start_tegrastats()]


def _gpu(device: int | None, root: Path) -> list[Source | NotSampled]:
    if device is None:
        return []
    found = open_gpu(device)
    # Few Jetsons have NVML, and their kernel tells of the GPU without it.
    spared = isinstance(found, NotSampled) and is_jetson(root) and gpu_folder(root) is not None
    return [] if spared else [found]
