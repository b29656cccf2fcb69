"""What every part that works in a process of its own needs for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import nd_deploy
from nd_deploy import errors
from nd_deploy.errors import NdDeployError

_LINES = 8


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


def error_fields(error: NdDeployError) -> dict[str, str]:
    """An error as JSON-ready fields, for the process that has to raise it."""
    return {"kind": type(error).__name__, "problem": error.problem, "remedy": error.remedy}


def error_of(fields: Mapping[str, str]) -> NdDeployError:
    """The inverse of `error_fields`: an error of the same type."""
    error: NdDeployError = getattr(errors, fields["kind"])(fields["problem"], fields["remedy"])
    return error


def last_said(log: str) -> str:
    """The last lines that a process printed, indented; "nothing" if it printed none."""
    last = [line for line in log.splitlines() if line.strip()][-_LINES:]
    return "\n".join(f"  {line}" for line in last) or "  nothing"
