"""Times of layers in TensorRT and TensorRT-RTX, as the engine reports them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from nd_deploy.compat import trt as compat
from nd_deploy.errors import BackendError
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers.attribution import Attribution, attribution_of
from nd_deploy.profiling.layers.medians import WARMUP, median_of_runs
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.choose import open_runner


def engine_layer_times(job: Job, runs: int, nd_layers: Sequence[str]) -> tuple[LayerTime, ...]:
    """Take the time of every layer of an engine, between events of the GPU; see `layer_times`."""
    import onnx

    from nd_deploy.profiling.subjects.device_opening import for_batch
    from nd_deploy.runtime.tensorrt.running.runner import TensorRTRunner

    assert job.model is not None
    attribution = attribution_of(onnx.load(job.model, load_external_data=False), nd_layers)
    options = replace(for_batch(job, job.model), cuda_graph=False)
    runner = open_runner(job.model, job.contestant.runtime, options)
    assert isinstance(runner, TensorRTRunner)
    reported: list[tuple[str, float]] = []
    times = []
    module = compat.load(runner.receipt.runtime)
    with runner, runner.prepare(job.feeds) as execution:
        execution.report_layers_to(
            compat.make_profiler(module, lambda name, ms: reported.append((name, ms / 1e3)))
        )
        for _ in range(WARMUP + runs):
            execution.enqueue()
            execution.synchronise()
            times.append(_sums(reported))
            reported.clear()
    if not any(times):
        raise BackendError(
            f"{compat.title(module.__name__)} reported no layer's time",
            "leave the times of layers out, and try another version of it",
        )
    return attributed(median_of_runs(times[WARMUP:]).items(), attribution)


def attributed(
    seconds: Iterable[tuple[str, float]], attribution: Attribution
) -> tuple[LayerTime, ...]:
    """The times of an engine's layers, each with what of the network it computes.

    Args:
        seconds: by the engine's name of the layer, in order.
        attribution: of the model that the engine was built from.
    """
    return tuple(
        LayerTime(place.name, place.op, time, place.nd_layer)
        for name, time in seconds
        for place in (attribution.of_engine_layer(name),)
    )


def _sums(reported: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, seconds in reported:
        sums[name] = sums.get(name, 0.0) + seconds
    return sums
