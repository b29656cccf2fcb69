"""Opens a model in ONNX Runtime, runs it once, and prints as JSON what that took.

    python tools/matrix/opened.py FILE N C H W

It imports nothing else that would count.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime


def open_and_run(file: str, shape: Sequence[int]) -> dict[str, float]:
    """Seconds until there is a session, and the bytes that it and one run take at most."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    before = memory("VmRSS")
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})
    return {"load_seconds": load, "peak_bytes": memory("VmHWM") - before}


def memory(field: str) -> int:
    """Bytes, from the process's status.

    getrusage's peak would be that of the process that started this one, if that was larger.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    print(json.dumps(open_and_run(sys.argv[1], [int(size) for size in sys.argv[2:]])))
