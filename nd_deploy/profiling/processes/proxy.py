"""A subject of another process, as one of this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nd_deploy.profiling.processes.jobs import here
from nd_deploy.profiling.processes.worker import Worker
from nd_deploy.profiling.subjects.base import Job, Samples, Subject
from nd_deploy.runtime.base import Receipt

if TYPE_CHECKING:
    from numpy.typing import NDArray


def in_child(job: Job) -> Subject:
    """Open a contestant in a process of its own, which times its iterations by its own clock.

    Args:
        job: what to open. A network has to be a `nd_deploy.origin.Origin`, and is loaded there.

    Returns:
        The subject. Its process ends when it is closed, and with this process, however that ends.

    Raises:
        InputError: the network exists in this process alone.
        NdDeployError: as of `open_subject`.
        BackendError: something killed the process.
        RuntimeError: it failed by a fault of nd-deploy.
    """
    fields = here(job)
    worker = Worker(str(job.contestant))
    try:
        opened, _ = worker.ask("open", fields, job.feeds)
    except BaseException:
        worker.end()
        raise
    return _Proxy(worker, _receipt(opened))


class _Proxy:
    """A subject whose model is in a worker."""

    def __init__(self, worker: Worker, receipt: Receipt) -> None:
        self._worker = worker
        self._receipt = receipt

    @property
    def receipt(self) -> Receipt:
        """What it runs with."""
        return self._receipt

    @property
    def memory(self) -> Mapping[str, int]:
        """As the subject tells it, and "process": all resident memory of its process."""
        return dict(self._worker.ask("memory").fields)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Run once; see `Subject.outputs`."""
        return dict(self._worker.ask("outputs").arrays)

    def measure(self, iterations: int) -> Samples:
        """Run so many times; see `Subject.measure`."""
        return dict(self._worker.ask("measure", {"iterations": iterations}).arrays)

    def close(self) -> None:
        """Close it there, and end its process."""
        try:
            if self._worker.listens:
                self._worker.ask("close")
        finally:
            self._worker.end()


def _receipt(fields: Mapping[str, Any]) -> Receipt:
    """From its fields in JSON, which has no tuples."""
    providers = {name: tuple(fields[name]) for name in ("providers_asked", "providers_got")}
    return Receipt(**{**fields, **providers})
