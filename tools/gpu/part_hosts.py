"""How fast a frozen ChannelDeconv is in the runtimes: as plugin, as 1x1 convolution, as body.

A model is a chain of equal whitenings, and a figure the time of one of them; ONNX Runtime's is by
the host's clock, TensorRT's by CUDA events.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx

from gpu.cases import BLOCK, DTYPES
from gpu.clock import Contestant, Measure, host_seconds, interleave
from gpu.device import require_cuda
from gpu.models import CONV_FORM, NODE_FORM, chain, inputs
from gpu.parts import FAILED, NOT_RUN, OK, Row, Settings, attempt, require_any, require_right
from gpu.runtimes import library_for, options, unavailable
from nd_deploy.compat import cuda as cuda_compat
from nd_deploy.errors import NdDeployError
from nd_deploy.precision import cast
from nd_deploy.runtime.base import Runner
from nd_deploy.runtime.choose import open_runner
from nd_deploy.runtime.options import ORT_CUDA, TENSORRT
from nd_deploy.runtime.tensorrt.running.buffers import Event

LENGTH, BATCH, ROUNDS = 8, 32, 7
CASES = ((64, 56), (256, 28), (256, 56), (1024, 7), (1024, 28))
# Runtime, what the model holds, whether the plugin library is loaded.
WAYS = {
    "tensorrt plugin": (TENSORRT, NODE_FORM, True),
    "tensorrt conv": (TENSORRT, CONV_FORM, False),
    "tensorrt body": (TENSORRT, NODE_FORM, False),
    "onnxruntime conv": (ORT_CUDA, CONV_FORM, False),
    "onnxruntime body": (ORT_CUDA, NODE_FORM, False),
}


def run(settings: Settings) -> list[Row]:
    """One row a case, type and way."""
    require_cuda()
    rows = [
        attempt(
            {"channels": channels, "size": size, "batch": BATCH, "dtype": dtype, "way": way},
            partial(time_way, way, channels, size, dtype, settings),
        )
        for channels, size in (CASES[:2] if settings.quick else CASES)
        for dtype in DTYPES
        for way in WAYS
    ]
    require_any(rows)
    require_right(rows, lambda row: f"{row['way']} of {row['channels']} channels in {row['dtype']}")
    return rows


def time_way(way: str, channels: int, size: int, dtype: str, settings: Settings) -> Row:
    """The time of one whitening, or why there is none."""
    runtime, form, plugin = WAYS[way]
    if plugin and library_for(runtime, settings) is None:
        return {"status": NOT_RUN, "reason": "the plugin library is not there"}
    missing = unavailable(runtime)
    if missing:
        return {"status": NOT_RUN, "reason": missing}
    model = chain(form, channels, size, LENGTH, BLOCK)
    if dtype != "float32":
        model = cast(model, dtype)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        try:
            runner = open_runner(file, runtime, options(runtime, plugin, settings, BATCH))
            seconds = _seconds(runner, runtime, channels, size)
        except NdDeployError as error:
            return {"status": FAILED, "reason": error.problem}
    return {"status": OK, "reason": "", "us": seconds * 1e6}


def _seconds(runner: Runner, runtime: str, channels: int, size: int) -> float:
    feeds = inputs(BATCH, (channels, size, size))
    prepared = runner.prepare(feeds)  # type: ignore[attr-defined]
    if runtime == ORT_CUDA:
        call: Callable[[], object] = prepared.run
        measure: Measure = host_seconds
    else:
        call, measure = prepared.enqueue, _events(prepared.stream)
    once = {"chain": Contestant(call, LENGTH)}
    return interleave(once, measure, ROUNDS, block_seconds=20e-3).median("chain")


def _events(stream: object) -> Measure:
    """Measures with events of the engine's own stream."""
    cuda = cuda_compat.find()

    def measure(call: Callable[[], object], count: int) -> float:
        with Event(cuda) as start, Event(cuda) as end:
            start.record(stream)  # type: ignore[arg-type]
            for _ in range(count):
                call()
            end.record(stream)  # type: ignore[arg-type]
            end.synchronise()
            return end.ms_since(start) * 1e-3

    return measure
