"""Which contestants cannot share a process."""

from __future__ import annotations

from collections.abc import Sequence

from nd_deploy.profiling.contestant import TORCH_CUDA
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.options import ORT_CUDA, ORT_TENSORRT, TENSORRT, TENSORRT_RTX

# Each brings CUDA libraries of its own, and the first that is loaded serves all.
_STACKS = {
    TORCH_CUDA: "PyTorch",
    ORT_CUDA: "ONNX Runtime",
    ORT_TENSORRT: "ONNX Runtime",
    TENSORRT: "TensorRT",
    TENSORRT_RTX: "TensorRT-RTX",
}
_ORT = (ORT_CUDA, ORT_TENSORRT)


def why_apart(jobs: Sequence[Job]) -> str | None:
    """Why contestants need a process each.

    Whatever runs on the processor shares one with anything.

    Returns:
        The reason; None if they can share this process.
    """
    runtimes = [job.contestant.runtime for job in jobs]
    stacks = list(dict.fromkeys(_STACKS[runtime] for runtime in runtimes if runtime in _STACKS))
    if len(stacks) > 1:
        return f"{' and '.join(stacks)} bring libraries for the GPU that do not share a process"
    if len({job.options.tf32 for job in jobs if job.contestant.runtime in _ORT}) > 1:
        return "ONNX Runtime runs with and without TF32, which its libraries settle once a process"
    return None
