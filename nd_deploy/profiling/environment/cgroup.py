"""How much of the processors a control group leaves to this process.

Both hierarchies are as the kernel documents them: Documentation/admin-guide/cgroup-v2.rst, and
scheduler/sched-bwc.rst for the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nd_deploy.profiling.environment.files import text_of

_MOUNT = "sys/fs/cgroup"


def quota(root: Path) -> float | None:
    """How many processors' time the process may use, by the tightest of its groups' limits.

    Args:
        root: of the file tree.

    Returns:
        Such as 1.5; None where no group sets a limit.
    """
    told = (limit(folder) for folder in _groups(root) for limit in (_second, _first))
    return min((limit for limit in told if limit is not None), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the groups that the process is in, with those of all groups around them."""
    for line in (text_of(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        # A group outside of the container's own view is named by leading "..", and not mounted.
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in (controllers, "cpu") if controllers else ("", "unified"):
            for depth in range(len(parts) + 1):
                yield root.joinpath(_MOUNT, mount, *parts[:depth])


def _second(folder: Path) -> float | None:
    allowed, _, period = (text_of(folder / "cpu.max") or "").partition(" ")
    return _share(allowed, period)


def _first(folder: Path) -> float | None:
    allowed, period = (text_of(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
    return _share(allowed, period)


def _share(allowed: str, period: str) -> float | None:
    """Microseconds allowed in a period, as processors; "max", -1 and nothing are no limit."""
    try:
        share = float(allowed) / float(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None
