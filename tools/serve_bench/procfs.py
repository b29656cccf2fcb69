"""What processes take, as /proc tells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# Fields of /proc/PID/stat behind the name, from state on, as proc(5) counts them from 3.
_PARENT, _USER, _CHILDREN_SYSTEM = 1, 11, 14


@dataclass(frozen=True)
class Memory:
    """Bytes that processes have in main memory.

    Attributes:
        rss: with all that they share, such as libraries.
        pss: with their share of what they share.
    """

    rss: int
    pss: int


def tree(root: int, parents: Iterable[tuple[int, int]]) -> list[int]:
    """A process and all that came from it.

    Args:
        root: its number.
        parents: each process with its parent.
    """
    children: dict[int, list[int]] = {}
    for process, parent in parents:
        children.setdefault(parent, []).append(process)
    found, left = [], [root]
    while left:
        process = left.pop()
        found.append(process)
        left += children.get(process, [])
    return found


def fields_of(stat: str) -> list[str]:
    """What stands behind the name in /proc/PID/stat; the name may hold anything."""
    return stat.rpartition(")")[2].split()


def ticks(stat: str) -> int:
    """User and system time of a process and of its children that have ended."""
    return sum(map(int, fields_of(stat)[_USER : _CHILDREN_SYSTEM + 1]))


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all that came from it."""
    stats = _stats()
    parents = ((process, int(fields_of(stat)[_PARENT])) for process, stat in stats.items())
    return sum(ticks(stats[process]) for process in tree(root, parents)) / os.sysconf("SC_CLK_TCK")


def memory(root: int) -> Memory:
    """The memory of a process; of those that came from it too."""
    parents = ((process, int(fields_of(stat)[_PARENT])) for process, stat in _stats().items())
    found = [_rollup(process) for process in tree(root, parents)]
    return Memory(sum(each.rss for each in found), sum(each.pss for each in found))


def sizes(rollup: str) -> Memory:
    """Read /proc/PID/smaps_rollup."""
    lines = (line.split() for line in rollup.splitlines()[1:])
    kilobytes = {words[0]: int(words[1]) for words in lines}
    return Memory(kilobytes["Rss:"] * 1024, kilobytes["Pss:"] * 1024)


def _rollup(process: int) -> Memory:
    return sizes((_PROC / str(process) / "smaps_rollup").read_text(encoding="ascii"))


def _stats() -> dict[int, str]:
    found = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                found[int(folder.name)] = (folder / "stat").read_text(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found
