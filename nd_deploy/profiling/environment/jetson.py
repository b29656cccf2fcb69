"""A Jetson board, and how its clocks are set."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from nd_deploy.compat.jetson import jetson_release
from nd_deploy.profiling.environment import cpufreq
from nd_deploy.profiling.environment.files import number_of, text_of
from nd_deploy.profiling.environment.jetson_sensors import gpu_folder
from nd_deploy.profiling.environment.record import Jetson

_PATIENCE_S = 10


def output_of(command: Sequence[str]) -> str:
    """What a program prints; nothing if it is absent or hangs.

    Args:
        command: the program and its arguments.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def is_jetson(root: Path) -> bool:
    """Whether this is a Jetson; its device tree tells that in a container too.

    Args:
        root: of the file tree.
    """
    chips = text_of(root / "proc/device-tree/compatible") or ""
    return "nvidia,tegra" in chips or _release(root) is not None


def look_at_jetson(root: Path, ask: Callable[[Sequence[str]], str] = output_of) -> Jetson | None:
    """Look at the board; None where this is none.

    Args:
        root: of the file tree.
        ask: gives what a program prints.
    """
    if not is_jetson(root):
        return None
    return Jetson(
        model=text_of(root / "proc/device-tree/model"),
        release=_release(root),
        power_mode=power_mode(ask(("nvpmodel", "-q"))),
        clocks=_clocks(root),
    )


def power_mode(told: str) -> str | None:
    """The power mode, such as "MAXN (0)".

    Args:
        told: what `nvpmodel -q` prints: the mode's name, and its number on the next line.
    """
    found = re.search(r"NV Power Mode:[ \t]*(\S.*)(?:\n\s*(\d+))?", told)
    if found is None:
        return None
    name, number = found[1].strip(), found[2]
    return name if number is None else f"{name} ({number})"


def _release(root: Path) -> str | None:
    return jetson_release(root / "etc/nv_tegra_release")


def _clocks(root: Path) -> str | None:
    """What jetson_clocks does: it leaves no clock a range. Asking it needs an administrator."""
    ranges = cpufreq.limits(root)
    gpu = gpu_folder(root)
    if gpu is not None:
        low, high = number_of(gpu / "min_freq"), number_of(gpu / "max_freq")
        if low is not None and high is not None:
            ranges.append((low, high))
    if not ranges:
        return None
    return "locked" if all(low == high for low, high in ranges) else "free"
