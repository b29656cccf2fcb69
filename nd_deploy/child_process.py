"""What every part that works in a process of its own needs for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nd_deploy


def import_paths() -> dict[str, str]:
    """The variable by which another process finds nd_deploy, wherever this one does."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    home = Path(nd_deploy.__file__).resolve().parent.parent
    paths = [str(Path(path).absolute()) for path in given if path]
    return {"PYTHONPATH": os.pathsep.join([*paths, str(home)])}


def signal_name(number: int) -> str:
    """What a signal is called, such as "SIGSEGV"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
