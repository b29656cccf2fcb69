"""Runs a part in a process of its own.

A part that crashes, hangs, or leaves the GPU in a state in which nothing runs any more, takes no
other part with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from gpu.parts import FAILED, Part, Settings

PATIENCE_S = 3600.0
_STDERR = 2


def child_command(name: str, settings: Settings, script: Path, file: Path) -> list[str]:
    """The command that runs a part and writes it into a file."""
    return [
        *(sys.executable, str(script)),
        *("--child", name, json.dumps(asdict(settings)), str(file)),
    ]


def run_in_child(name: str, settings: Settings, script: Path, patience: float = PATIENCE_S) -> Part:
    """Run one part in a process of its own.

    Args:
        name: of the part.
        settings: of the suite.
        script: takes `--child NAME SETTINGS FILE` and writes the part into the file.
        patience: seconds after which it is given up, with all that it has started.

    Returns:
        The part, whatever became of the process.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.json"
        code = _wait(child_command(name, settings, script, file), patience)
        seconds = time.monotonic() - start
        if code is None:
            return Part(name, FAILED, f"gave no answer for {patience:.0f} s", seconds=seconds)
        if not file.exists():
            ended = f"its process ended with exit code {code} and no result"
            return Part(name, FAILED, ended, seconds=seconds)
        return replace(Part(**json.loads(file.read_text())), seconds=seconds)


def _wait(command: Sequence[str], patience: float) -> int | None:
    """The exit code of a command, or None if it was given up."""
    # What a part prints is no result.
    with subprocess.Popen(command, stdout=_STDERR, start_new_session=True) as process:
        try:
            return process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Compilers and pytest are children of the child.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
