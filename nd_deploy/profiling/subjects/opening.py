"""Opens whatever takes part in a measurement."""

from __future__ import annotations

import time

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import ON_GPU, TORCH
from nd_deploy.profiling.subjects.base import Clock, Job, Subject
from nd_deploy.profiling.subjects.open_host import open_ort_cpu, open_torch
from nd_deploy.runtime.options import ORT_CPU

_ON_HOST = {ORT_CPU: open_ort_cpu, TORCH: open_torch}


def open_subject(job: Job, clock: Clock = time.perf_counter_ns) -> Subject:
    """Open a contestant in this process.

    Args:
        job: what to open, and how.
        clock: the host's time, by which its iterations are timed.

    Returns:
        The subject, loaded; it has not run yet.

    Raises:
        InputError: there is no such runtime, or an option, a file or an input is not what it has
            to be.
        GraphError: the runtime refuses the model.
        BackendError: it cannot be run as asked.
        MissingDependencyError: the runtime is not installed.
    """
    runtime = job.contestant.runtime
    if runtime in _ON_HOST:
        return _ON_HOST[runtime](job, clock)
    if job.contestant.on_gpu:
        from nd_deploy.profiling.subjects.device_opening import open_device

        return open_device(job, clock)
    raise InputError(
        f"there is no runtime {runtime!r}", f"choose from {', '.join([*_ON_HOST, *ON_GPU])}"
    )
