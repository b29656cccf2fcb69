"""What opening a model costs, in a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from matrix.outcome import FileCost

_TRIES = 3
_OPENED = Path(__file__).with_name("opened.py")


def cost_of(model: str, file: Path, shape: Sequence[int]) -> FileCost:
    """Open a model a few times, each in a fresh process, in ONNX Runtime on one thread.

    Args:
        model: its name.
        file: its ONNX file.
        shape: of its input, (N, ...).
    """
    command = [sys.executable, str(_OPENED), str(file), *map(str, shape)]
    found = []
    for _ in range(_TRIES):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
    weights = file.with_name(f"{file.name}.data")
    return FileCost(
        model,
        file.stat().st_size + (weights.stat().st_size if weights.exists() else 0),
        min(each["load_seconds"] for each in found),
        min(each["peak_bytes"] for each in found),
    )
