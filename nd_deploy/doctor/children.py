"""Asks programs and processes that may hang, crash or be absent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nd_deploy

# A driver that hangs must not hang the doctor.
PATIENCE_S = 20

_PROBE = "nd_deploy.doctor.probe"


def ask(name: str, *arguments: str) -> dict[str, Any]:
    """Look at something in a process of its own.

    Args:
        name: of the probe.
        arguments: of the probe.

    Returns:
        Its answer; only `problem`, in words, if the process ended without one.
    """
    command = [sys.executable, "-m", _PROBE, name, *arguments]
    home = str(Path(nd_deploy.__file__).resolve().parent.parent)
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"it does not answer: {PATIENCE_S} s passed"}
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer
    return {"problem": f"the process that looked at it {_ending(done.returncode, done.stderr)}"}


def lines_of(command: Sequence[str]) -> list[str]:
    """What a program prints; nothing if it is absent, hangs or fails."""
    if shutil.which(command[0]) is None:
        return []
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            stdin=subprocess.DEVNULL,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _ending(code: int, errors: str) -> str:
    said = errors.strip().splitlines()[-1:]
    if code >= 0:
        return ": ".join([f"ended with exit code {code}", *said])
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return ": ".join([f"was ended by {name}", *said])
