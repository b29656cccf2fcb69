"""Bare ONNX Runtime: a process that has a session, and runs it whenever it is told to.

    python tools/serve_bench/bare.py MODEL INPUT.npy

For each line "BATCH SECONDS" it runs batches of the input for so long, and prints as JSON how many
inputs that were, the CPU seconds, and how long each batch took. It imports nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime
from numpy.typing import NDArray


def run_for(
    session: onnxruntime.InferenceSession, x: NDArray[np.float32], seconds: float
) -> dict[str, object]:
    """Run one batch over and over."""
    feeds = {session.get_inputs()[0].name: x}
    session.run(None, feeds)
    taken: list[float] = []
    cpu, now = time.process_time(), time.perf_counter()
    end = now + seconds
    while now < end:
        session.run(None, feeds)
        begun, now = now, time.perf_counter()
        taken.append(now - begun)
    return {
        "count": len(taken) * len(x),
        "cpu_seconds": time.process_time() - cpu,
        "seconds": taken,
    }


def main(model: str, file: str) -> None:
    """Answer the lines of the standard input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = np.load(file)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, seconds = line.split()
        found = run_for(session, np.repeat(x, int(batch), axis=0), float(seconds))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
