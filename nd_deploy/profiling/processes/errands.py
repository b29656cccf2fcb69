"""What is found out about a contestant in a process of its own, which ends when it has told."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from nd_deploy.profiling.figures import LayerTime
from nd_deploy.profiling.processes.jobs import here
from nd_deploy.profiling.processes.worker import Worker
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.profiling.work.peaks import Peaks


def layers_in_child(job: Job, runs: int, nd_layers: Sequence[str]) -> tuple[LayerTime, ...]:
    """Take the times of a job's layers; see `nd_deploy.profiling.layers.layer_times`.

    Raises:
        NdDeployError: as there; or as of `nd_deploy.profiling.processes.in_child`.
    """
    told = _ask(job, "layers", {"runs": runs, "nd_layers": list(nd_layers)})
    return tuple(map(LayerTime.from_dict, told["layers"]))


def peaks_in_child(job: Job, dtype: str, device: int) -> Peaks:
    """Measure the peaks of a job's machine; see `nd_deploy.profiling.work.peaks.measure_peaks`.

    Raises:
        NdDeployError: as there; or as of `nd_deploy.profiling.processes.in_child`.
    """
    return Peaks(**_ask(job, "peaks", {"dtype": dtype, "device": device}))


def _ask(job: Job, question: str, fields: dict[str, Any]) -> dict[str, Any]:
    asked = {**here(job), **fields}
    worker = Worker(str(job.contestant))
    with contextlib.ExitStack() as stack:
        stack.callback(worker.end)
        return dict(worker.ask(question, asked, job.feeds).fields)
