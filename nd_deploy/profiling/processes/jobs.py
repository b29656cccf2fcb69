"""A job as JSON-ready fields, for a process that cannot be given objects."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nd_deploy.errors import InputError
from nd_deploy.profiling.contestant import Contestant
from nd_deploy.profiling.subjects.base import Job
from nd_deploy.runtime.options import RunOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray


def here(job: Job) -> dict[str, Any]:
    """A job, and this process's place, where relative paths and code of the user's are found.

    Raises:
        InputError: its network is an object of this process.
    """
    return {
        "job": job_fields(job),
        "folder": str(Path.cwd()),
        "import_paths": sys.path,
    }


def job_fields(job: Job) -> dict[str, Any]:
    """All of a job but its arrays.

    Raises:
        InputError: its network is an object of this process.
    """
    return {
        "contestant": job.contestant.as_dict(),
        "model": None if job.model is None else str(job.model),
        "network": _network_fields(job),
        "options": _options_fields(job.options),
    }


def job_from_fields(fields: Mapping[str, Any], feeds: Mapping[str, NDArray[Any]]) -> Job:
    """The inverse of `job_fields`.

    Args:
        fields: as that gave them; relative paths are from the current folder.
        feeds: the job's arrays.
    """
    from nd_deploy.origin import Origin

    model, network = fields["model"], fields["network"]
    return Job(
        Contestant.from_dict(fields["contestant"]),
        None if model is None else Path(model),
        None if network is None else Origin.from_dict(network),
        _options_from_fields(fields["options"]),
        feeds,
    )


def _network_fields(job: Job) -> dict[str, Any] | None:
    from nd_deploy.origin import Origin

    if job.network is None:
        return None
    if not isinstance(job.network, Origin):
        raise InputError(
            f"{job.contestant} needs a process of its own, and its network is an object of this "
            "one",
            "measure it apart from other runtimes for GPUs, or have its bundle tell how the "
            "network is built: 'nd-deploy convert' writes that down",
        )
    return job.network.as_dict()


def _options_fields(options: RunOptions) -> dict[str, Any]:
    return asdict(options) | {
        "plugins": [str(path) for path in options.plugins],
        "engine": None if options.engine is None else str(options.engine),
    }


def _options_from_fields(fields: Mapping[str, Any]) -> RunOptions:
    engine = fields["engine"]
    changed = {
        "plugins": tuple(map(Path, fields["plugins"])),
        "engine": None if engine is None else Path(engine),
        "shapes": tuple(fields["shapes"]),
    }
    return RunOptions(**{**fields, **changed})
