"""Asks programs and processes that may hang, crash or be absent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from nd_deploy.child_process import import_paths, signal_name

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
    try:
        done = _run(command)
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
        done = _run(command)
        done.check_returncode()
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env=os.environ | import_paths(),
    )


def _ending(code: int, errors: str) -> str:
    said = errors.strip().splitlines()[-1:]
    if code >= 0:
        return ": ".join([f"ended with exit code {code}", *said])
    return ": ".join([f"was ended by {signal_name(-code)}", *said])
