"""Takes the time of every layer of a model, in whichever runtime runs it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import TORCH, TORCH_CUDA
from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.subjects.base import Clock, Job
from nd_deploy.runtime.options import ENGINE_RUNTIMES


def layer_times(
    job: Job,
    runs: int,
    nd_layers: Sequence[str] = (),
    clock: Clock = time.perf_counter_ns,
) -> tuple[LayerTime, ...]:
    """Take the time of every layer, in runs of their own.

    Doing so slows the network down, in each runtime in another way, and layers may run side by
    side. So these times compare layers of one run, and are never summed into a latency.

    Args:
        job: what to run. No CUDA graph is used, since it is launched as a whole.
        runs: how many count, after a few that do not.
        nd_layers: the ND layers of the network by their paths, as a bundle's decisions name them.
        clock: the host's, for PyTorch on the processor; ONNX Runtime and GPUs have their own.

    Returns:
        The median of each layer over the runs, in the order in which they run. Copies of inputs
        and outputs are not among them.

    Raises:
        InputError: `runs` is under 1, or as of opening the model.
        GraphError: as of opening the model.
        BackendError: as of opening and running it; or the runtime does not tell the times.
        MissingDependencyError: the runtime is not installed.
    """
    if runs < 1:
        raise InputError(f"the layers are to be timed in {runs} runs", "give at least 1")
    runtime = job.contestant.runtime
    if runtime in (TORCH, TORCH_CUDA):
        from nd_deploy.profiling.layers.torch_layers import torch_layer_times

        return torch_layer_times(job, runs, nd_layers, clock)
    if runtime in ENGINE_RUNTIMES:
        from nd_deploy.profiling.layers.engine_layers import engine_layer_times

        return engine_layer_times(job, runs, nd_layers)
    from nd_deploy.profiling.layers.ort_layers import ort_layer_times

    return ort_layer_times(job, runs, nd_layers)
