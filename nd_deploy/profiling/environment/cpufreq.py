"""The processor's clock, by the kernel's cpufreq."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from nd_deploy.profiling.environment.files import number_of, text_of
from nd_deploy.profiling.environment.state import State

_CPUS = "sys/devices/system/cpu"
_KHZ_PER_MHZ = 1000


def governor(root: Path) -> str | None:
    """Who chooses the clock, such as "performance"; several are joined by "+".

    Args:
        root: of the file tree.
    """
    told = {text_of(file) for file in _files(root, "scaling_governor")} - {None}
    return "+".join(sorted(filter(None, told))) or None


def turbo(root: Path) -> bool | None:
    """Whether the clock may go over its base; see `governor`."""
    off = number_of(root / _CPUS / "intel_pstate/no_turbo")
    if off is not None:
        return off == 0
    boost = number_of(root / _CPUS / "cpufreq/boost")
    return None if boost is None else boost != 0


def limits(root: Path) -> list[tuple[float, float]]:
    """The lowest and the highest clock that each processor is held to, in kHz; see `governor`."""
    found = (
        (number_of(file), number_of(file.with_name("scaling_max_freq")))
        for file in _files(root, "scaling_min_freq")
    )
    return [(low, high) for low, high in found if low is not None and high is not None]


class CpuClock:
    """Tells the mean clock of all processors.

    Args:
        root: of the file tree.
    """

    def __init__(self, root: Path) -> None:
        self._files = _files(root, "scaling_cur_freq")

    def read(self) -> State:
        """The clock now; unknown in most virtual machines."""
        told = [khz for khz in map(number_of, self._files) if khz is not None]
        return State(cpu_mhz=fmean(told) / _KHZ_PER_MHZ if told else None)

    def close(self) -> None:
        """It holds nothing."""


def _files(root: Path, name: str) -> Sequence[Path]:
    return sorted((root / _CPUS).glob(f"cpu[0-9]*/cpufreq/{name}"))
