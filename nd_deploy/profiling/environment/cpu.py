"""The processor, and what else it is busy with."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from nd_deploy.profiling.environment import cpufreq
from nd_deploy.profiling.environment.cgroup import quota
from nd_deploy.profiling.environment.files import text_of
from nd_deploy.profiling.environment.record import Cpu

WINDOW_S = 0.5
"""How long others' use of the processors is watched: two processors tick a hundred times."""

_IDLE = slice(3, 5)  # of the times in /proc/stat: idle, and idle while a disk works
_TIMES = slice(1, 9)  # without those of guests, which count among the first two already
_OWN = slice(11, 13)  # of what follows the name in /proc/self/stat: in user and in kernel mode


def look_at_cpu(root: Path, wait: Callable[[float], None]) -> Cpu:
    """Look at the processor.

    Args:
        root: of the file tree.
        wait: lets so many seconds pass.
    """
    return Cpu(
        model=_model(root),
        logical=_logical(root),
        affinity=tuple(sorted(os.sched_getaffinity(0))),
        quota=quota(root),
        governor=cpufreq.governor(root),
        turbo=cpufreq.turbo(root),
        mhz=_mhz(root),
        load=_load(root),
        busy=busy(root, wait),
    )


def busy(root: Path, wait: Callable[[float], None]) -> float | None:
    """The share of all processors' time that others take while this process waits.

    Others are other processes, the kernel, and other virtual machines on the same processors.

    Args:
        root: of the file tree.
        wait: lets so many seconds pass.

    Returns:
        From 0 to 1; None where the kernel does not tell.
    """
    before = _ticks(root)
    if before is None:
        return None
    wait(WINDOW_S)
    after = _ticks(root)
    if after is None or after.all <= before.all:
        return None
    passed, idle, own = (late - early for late, early in zip(after, before, strict=True))
    return min(max((passed - idle - own) / passed, 0.0), 1.0)


class _Ticks(NamedTuple):
    all: int
    idle: int
    own: int


def _ticks(root: Path) -> _Ticks | None:
    """What the processors have done since the system started."""
    everything = (text_of(root / "proc/stat") or "").partition("\n")[0].split()
    # The process's name is in brackets, and may hold blanks and brackets itself.
    process = (text_of(root / "proc/self/stat") or "").rpartition(")")[2].split()
    try:
        times = [int(ticks) for ticks in everything[_TIMES]]
        own = [int(ticks) for ticks in process[_OWN]]
    except ValueError:
        return None
    return _Ticks(sum(times), sum(times[_IDLE]), sum(own)) if times and own else None


def _model(root: Path) -> str:
    info = _cpuinfo(root)
    names = info.get("model name") or [
        # An Arm processor tells only by numbers whose it is.
        f"CPU implementer {implementer}, part {part}"
        for implementer, part in zip(
            info.get("CPU implementer", ()), info.get("CPU part", ()), strict=False
        )
    ]
    model = " + ".join(dict.fromkeys(names)) or platform.processor() or platform.machine()
    board = text_of(root / "proc/device-tree/model")
    return f"{model}, in {board}" if board else model


def _mhz(root: Path) -> float | None:
    told = cpufreq.CpuClock(root).read().cpu_mhz
    if told is not None:
        return told
    try:
        return fmean(map(float, _cpuinfo(root)["cpu MHz"]))
    except (KeyError, ValueError):
        return None


def _cpuinfo(root: Path) -> dict[str, list[str]]:
    """What /proc/cpuinfo says: each field's values, in order of the processors."""
    info: dict[str, list[str]] = {}
    for line in (text_of(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if value.strip():
            info.setdefault(name.strip(), []).append(value.strip())
    return info


def _logical(root: Path) -> int:
    """How many processors are online, of a list such as "0-3,6"."""
    ranges = (text_of(root / "sys/devices/system/cpu/online") or "").split(",")
    ends = [part.partition("-") for part in ranges]
    try:
        return sum(int(last or first) - int(first) + 1 for first, _, last in ends)
    except ValueError:
        return os.cpu_count() or 1


def _load(root: Path) -> float | None:
    try:
        return float((text_of(root / "proc/loadavg") or "").split()[0])
    except (IndexError, ValueError):
        return None
