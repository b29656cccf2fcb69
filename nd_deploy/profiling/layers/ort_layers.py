"""Times of layers in ONNX Runtime, from the trace that it writes of a session."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nd_deploy.errors import BackendError
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.layers.attribution import Attribution, attribution_of, tell_bodies_apart
from nd_deploy.profiling.layers.medians import WARMUP
from nd_deploy.profiling.layers.ort_trace import node_times
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.options import ORT_TENSORRT


def ort_layer_times(job: Job, runs: int, nd_layers: Sequence[str]) -> tuple[LayerTime, ...]:
    """Take the time of every node that ONNX Runtime runs; see `layer_times`."""
    if job.contestant.runtime == ORT_TENSORRT:
        raise BackendError(
            "ort-tensorrt runs the whole network as one node, and does not tell the times in it",
            "take the times of layers in --runtime tensorrt",
        )
    with tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder:
        model, attribution = _distinct(job, nd_layers, Path(folder))
        trace = _traced(job, model, WARMUP + runs, Path(folder) / "trace")
        times = node_times(trace, WARMUP, runs)
    names = {node.name for node in times}
    places = [attribution.of_ort_node(node.name, node.op, names) for node in times]
    return tuple(
        LayerTime(place.name, place.op, seconds, place.nd_layer)
        for place, seconds in zip(places, times.values(), strict=True)
    )


def _distinct(job: Job, nd_layers: Sequence[str], folder: Path) -> tuple[Path, Attribution]:
    """A model of which every name tells its layer, and what finds it."""
    import onnx

    from nd_deploy.bundle import onnx_file
    from nd_deploy.bundle.writing import EXTERNAL_DATA_OVER

    assert job.model is not None
    outline = onnx.load(job.model, load_external_data=False)
    has_bodies = tell_bodies_apart(outline)
    attribution = attribution_of(outline, nd_layers)
    if not has_bodies:
        return job.model, attribution
    model = onnx.load(job.model)
    tell_bodies_apart(model)
    file = folder / "model.onnx"
    onnx_file.save(model, file, EXTERNAL_DATA_OVER)
    return file, attribution


def _traced(job: Job, model: Path, runs: int, trace: Path) -> Path:
    from nd_deploy.runtime.open_ort import open_ort

    options = replace(job.options, cuda_graph=False)
    runner = open_ort(model, job.contestant.runtime, options, optimise=True, trace=trace)
    for _ in range(runs):
        runner.run(job.feeds)
    return runner.end_trace()
