"""What the machine can do at best: multiply matrices, and copy memory."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nd_deploy.profiling.subjects.base import Clock, Job
from nd_deploy.profiling.work.copying import device_copy_rate, host_copy_rate
from nd_deploy.profiling.work.gemm import blas_rate
from nd_deploy.profiling.work.runtime_gemm import Opener, runtime_rate

if TYPE_CHECKING:
    from nd_deploy.compat.cuda import Cuda

ON_GPU_SIZE = 4096
"""Of matrices on a GPU: the fastest take a fifth of a millisecond for their product in float16, and
they leave room in the memory of a Jetson."""

_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Peaks:
    """What a machine was measured to do at best.

    Attributes:
        gemm_flops_per_s: floating point operations of a product of matrices.
        copy_bytes_per_s: of a copy in memory, reading and writing counted.
        gemm: how the one was measured, in words: size, dtype, TF32, by what.
        copy: how the other was: size, threads.
    """

    gemm_flops_per_s: float
    copy_bytes_per_s: float
    gemm: str
    copy: str


def measure_peaks(
    job: Job,
    dtype: str,
    open_subject: Opener,
    *,
    clock: Clock = time.perf_counter_ns,
    cuda: Cuda | None = None,
    device: int = 0,
) -> Peaks:
    """Measure the peaks that a row can be held against, which takes about a second.

    On a processor the matrices are multiplied by numpy's BLAS and by the row's own runtime, and the
    faster of them is the peak; on a GPU by the runtime alone, in the row's precision.

    Args:
        job: the row's.
        dtype: that its model computes in, `NetworkWork.dtype`; float32 stands for what is no float.
        open_subject: opens a job like it.
        clock: the host's.
        cuda: how to call CUDA; None for whatever is there. Unused on a processor.
        device: CUDA's number of the GPU. Unused on a processor.

    Raises:
        InputError, GraphError, BackendError, MissingDependencyError: as of opening and running a
            model in the runtime, and of CUDA.
    """
    kind = dtype if dtype in _FLOATS else "float32"
    if job.contestant.on_gpu:
        from nd_deploy.compat.cuda import find

        gemm = runtime_rate(job, ON_GPU_SIZE, kind, open_subject)
        copy = device_copy_rate(find() if cuda is None else cuda, device, clock)
    else:
        threads = _threads(job)
        # Processors compute what is shorter in float32.
        blas, size = blas_rate("float64" if kind == "float64" else "float32", threads, clock)
        own = runtime_rate(job, size, kind, open_subject)
        gemm = max(blas, own, key=lambda rate: rate.per_s)
        copy = host_copy_rate(threads, clock)
    return Peaks(gemm.per_s, copy.per_s, gemm.how, copy.how)


def what_peaks_depend_on(job: Job, dtype: str) -> Hashable:
    """The same for all rows that can share their peaks."""
    options = job.options
    own = tuple(sorted(options.options.items()))
    return job.contestant.runtime, _threads(job), dtype, options.precision, options.tf32, own


def _threads(job: Job) -> int:
    """Of one operator; as many as there are processors where the runtime chooses."""
    asked = job.contestant.threads or job.options.options.get("threads")
    return int(asked) if asked else len(os.sched_getaffinity(0))
