"""Every kind of ND layer in every runtime that uses the GPU, against float64 numpy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from gpu.device import require_cuda
from gpu.models import KINDS, Kind, deployed, inputs, make
from gpu.parts import FAILED, NOT_RUN, OK, WRONG, Row, Settings, attempt, require_any, require_right
from gpu.runtimes import RUNTIMES, expected_to_refuse, library_for, options, unavailable
from nd_deploy.errors import NdDeployError
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.options import ORT_CUDA, ORT_TENSORRT
from nd_deploy.runtime.reference import ReferenceRunner

BATCH = 4
DTYPES = ("float32", "float16", "bfloat16")
LIMITS = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}


def run(settings: Settings) -> list[Row]:
    """One row a runtime, kind, type, and way of running the nodes that are left."""
    require_cuda()
    rows = list(run_all(settings, RUNTIMES))
    require_any(rows)
    require_right(
        rows, lambda row: f"{row['kind']} in {row['dtype']} on {row['runtime']} ({row['nodes']})"
    )
    return rows


def run_all(settings: Settings, runtimes: tuple[str, ...]) -> Iterator[Row]:
    """Run every kind, as its body and by the plugin where it has one."""
    for name, kind in KINDS.items():
        for runtime in runtimes:
            for dtype in DTYPES:
                for plugin in (False, True) if kind.plugins else (False,):
                    about = {
                        "kind": name,
                        "runtime": runtime,
                        "dtype": dtype,
                        "nodes": "plugin" if plugin else ("body" if kind.plugins else "none left"),
                    }
                    yield attempt(about, partial(run_one, kind, runtime, dtype, plugin, settings))


def run_one(kind: Kind, runtime: str, dtype: str, plugin: bool, settings: Settings) -> Row:
    """Run one model once, if it can be run."""
    unusable = why_not(runtime, dtype, plugin, settings)
    if unusable:
        return {"status": NOT_RUN, "reason": unusable}
    feeds = inputs(BATCH)
    target = "ort-tensorrt" if runtime == ORT_TENSORRT and plugin else "portable"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(deployed(kind, dtype, target), file)
        try:
            runner = open_runner(file, runtime, options(runtime, plugin, settings, BATCH))
            found = runner.run(feeds)["y"]
        except NdDeployError as error:
            refused = expected_to_refuse(runtime)
            return {"status": NOT_RUN if refused else FAILED, "reason": error.problem}
    truth = ReferenceRunner(make(kind)).run(feeds)["y"]
    off = float(np.abs(found.astype(np.float64) - truth).max() / np.abs(truth).max())
    right = off <= LIMITS[dtype]
    reason = "" if right else f"off by {off:.1e}, more than {LIMITS[dtype]:.0e}"
    return {"status": OK if right else WRONG, "reason": reason, "error": off}


def why_not(runtime: str, dtype: str, plugin: bool, settings: Settings) -> str:
    """Why something is not even tried; "" if it is."""
    if plugin and runtime == ORT_CUDA:
        return "ONNX Runtime's CUDA provider runs no TensorRT plugins"
    if dtype == "bfloat16" and runtime in (ORT_CUDA, ORT_TENSORRT):
        return "bfloat16 models are for TensorRT itself"
    if plugin and library_for(runtime, settings) is None:
        return "the plugin library for it is not there: see the part 'plugin'"
    return unavailable(runtime)
