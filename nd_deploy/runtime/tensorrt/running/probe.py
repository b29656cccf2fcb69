"""Finds out whether an engine can be loaded here, in a process that may abort over it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nd_deploy.compat import trt as compat
from nd_deploy.errors import BackendError
from nd_deploy.runtime.tensorrt.device import NoDevice, find_device
from nd_deploy.runtime.tensorrt.kept.engine_file import StoredEngine
from nd_deploy.runtime.tensorrt.process import Report, run_in_child, serve
from nd_deploy.runtime.tensorrt.running.engine_facts import EngineFacts
from nd_deploy.runtime.tensorrt.running.engine_loading import Loading, load_engine


@dataclass(frozen=True)
class Probe:
    """Whether an engine can be loaded.

    Attributes:
        facts: what it says about itself; None if it cannot.
        reason: why it cannot, in words.
        remedy: what to do about it.
    """

    facts: EngineFacts | None
    reason: str | None = None
    remedy: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it can."""
        return self.facts is not None


def probe_engine(engine: StoredEngine, loading: Loading, device: int = 0) -> Probe:
    """Load an engine in a process of its own.

    Args:
        engine: the engine.
        loading: how.
        device: CUDA's number of the GPU.

    Returns:
        What the engine says about itself, or why it is refused: another version, another GPU, a
        missing plugin, a corrupt plan, no driver, or code for the host that is not allowed.

    Raises:
        InputError: a file is missing or has changed.
        BackendError: something killed the process; it says by which signal.
        MissingDependencyError: the library is not installed.
    """
    job = {
        "plan": str(engine.plan_path.absolute()),
        "sha256": engine.sha256,
        "device": device,
        "library": loading.library,
        "plugin_libraries": [str(path.absolute()) for path in loading.plugin_libraries],
        "python_plugins": loading.python_plugins,
        "allow_host_code": loading.allow_host_code,
    }
    with (
        tempfile.TemporaryDirectory(prefix="nd-deploy-") as folder,
        compat.linkable(loading.library) as environment,
    ):
        # Not __name__, which is "__main__" on the other side.
        module = "nd_deploy.runtime.tensorrt.running.probe"
        found = run_in_child(module, job, Path(folder), environment, lambda line: None)
    if found["facts"] is None:
        return Probe(None, found["reason"], found["remedy"])
    return Probe(EngineFacts.from_dict(found["facts"]))


def require_engine(engine: StoredEngine, loading: Loading, device: int = 0) -> EngineFacts:
    """Load an engine in a process of its own, where it has to succeed; see `probe_engine`.

    Raises:
        BackendError: the engine is refused, too.
    """
    found = probe_engine(engine, loading, device)
    if found.facts is None:
        raise BackendError(found.reason or "", found.remedy or "")
    return found.facts


def _work(job: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    loading = Loading(
        job["library"],
        tuple(map(Path, job["plugin_libraries"])),
        job["python_plugins"],
        job["allow_host_code"],
    )
    path = Path(job["plan"])
    plan = StoredEngine(path, None, {}, job["sha256"]).read()
    trt = compat.load(loading.library)
    try:
        device = find_device(job["device"])
        # Even without a GPU, TensorRT-RTX tells what else is wrong; TensorRT may not start.
        if isinstance(device, NoDevice) and not hasattr(trt.Runtime, "get_engine_validity"):
            raise BackendError(f"no GPU can be used: {device.reason}", device.remedy)
        facts = load_engine(trt, plan, str(path), loading).facts
    except BackendError as error:
        return {"facts": None, "reason": error.problem, "remedy": error.remedy}
    return {"facts": facts.as_dict()}


if __name__ == "__main__":
    serve(_work)
