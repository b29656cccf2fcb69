"""The models that are served, and their exchange for newer ones while requests come in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from nd_deploy.errors import BundleError, InputError, NdDeployError, ParityError
from nd_deploy.serve.exchange import InferRequest, InferResponse, ModelSpec, ModelState
from nd_deploy.serve.models.queue_protocol import MakeQueue, Model, Queue
from nd_deploy.serve.models.source import Source, check_names
from nd_deploy.serve.protocol.errors import shown
from nd_deploy.serve.refusal import BAD_REQUEST, NOT_FOUND, NOT_READY, Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LOADING, READY, UNAVAILABLE = "LOADING", "READY", "UNAVAILABLE"
_RETRY_AFTER = 1  # second, in which a model may have become ready
_REFUSED = "a changed bundle is not served, because "


class Loaded(Model, Protocol):
    """What the repository asks of a model besides what its queue does."""

    @property
    def digest(self) -> str:
        """The sha256 of its bundle's manifest."""
        ...

    def check(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Refuse inputs that would not run.

        Raises:
            InputError: they do not fit.
        """
        ...

    def close(self) -> None:
        """Give its memory back; nothing may be in `run`. Called in a thread."""
        ...


# From what to load and its version to the model; called in a thread, one call at a time.
Load: TypeAlias = Callable[[Source, str], Loaded]


@dataclass(frozen=True)
class Reloads:
    """How often a model's bundle has changed since the server started.

    Attributes:
        done: times that the new one was served.
        failed: times that it was refused, and the old one went on.
    """

    done: int = 0
    failed: int = 0


@dataclass(frozen=True)
class _Served:
    """A model with its queue; the two come and go together."""

    model: Loaded
    queue: Queue


@dataclass
class _Entry:
    source: Source
    served: _Served | None = None
    state: str = LOADING
    reason: str = "it is being loaded"
    reloads: Reloads = field(default_factory=Reloads)

    @property
    def version(self) -> int:
        """Of what is served, or is being loaded for the first time."""
        return 1 + self.reloads.done


class ModelRepository:
    """Models by name: the half of `Service` that is about them.

    All methods are called in the loop's own thread; loading and closing go to threads. While a
    model is exchanged, its sessions are there twice, and the memory has to hold both: no third is
    loaded before the first has given its memory back.

    Args:
        sources: what to serve.
        make_queue: gives a model that has been loaded its queue.
        load: loads a model.

    Raises:
        InputError: two sources have one name, or a name does not fit into a URL.
    """

    def __init__(self, sources: Sequence[Source], make_queue: MakeQueue, load: Load) -> None:
        check_names(sources)
        self._entries = {source.name: _Entry(source) for source in sources}
        self._make_queue = make_queue
        self._load = load
        self._loading = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._ending = False

    async def start(self) -> None:
        """Load every model, one after the other.

        Raises:
            NdDeployError: one cannot be served. Those before it are served until `drain`.
        """
        for entry in self._entries.values():
            try:
                entry.served = await self._load_version(entry, entry.version)
            except NdDeployError:
                entry.state, entry.reason = UNAVAILABLE, "it could not be loaded"
                raise
            entry.state, entry.reason = READY, ""

    @property
    def sources(self) -> Mapping[str, Source]:
        """What is served, by name."""
        return {name: entry.source for name, entry in self._entries.items()}

    @property
    def reloads(self) -> Mapping[str, Reloads]:
        """How often each model's bundle has changed, by its name."""
        return {name: entry.reloads for name, entry in self._entries.items()}

    def digest(self, name: str) -> str:
        """The sha256 of the manifest of what is served under a name; "" where nothing is."""
        served = self._entries[name].served
        return "" if served is None else served.model.digest

    def spec(self, model: str, version: str | None = None) -> ModelSpec:
        """See `Service.spec`."""
        return self._find(model, version).model.spec

    def models(self) -> Sequence[ModelState]:
        """See `Service.models`. A reason beside READY says why a changed bundle is not served."""
        return [
            ModelState(name, str(entry.version), entry.state, entry.reason)
            for name, entry in sorted(self._entries.items())
        ]

    @property
    def ready(self) -> bool:
        """See `Service.ready`."""
        return not self._ending and all(e.state == READY for e in self._entries.values())

    async def infer(self, request: InferRequest) -> InferResponse:
        """See `Service.infer`."""
        served = self._find(request.model, request.version)
        if request.fits is not served.model.spec:
            _check(served.model, request)
        return await served.queue.submit(request)

    async def reload(self, name: str) -> bool:
        """Load what now lies at a model's path, serve it, and end what was served before.

        Requests that come while it loads, and those that wait, are answered by the old one.

        Args:
            name: of a model that is served.

        Returns:
            Whether it is served; otherwise the old one still is, and the reason is logged and shown
            by `models`. Both are counted in `reloads`.
        """
        entry = self._entries[name]
        async with self._loading:
            try:
                fresh = await self._load_version(entry, entry.version + 1)
            except Exception as error:
                # Even a fault of ours in loading must not end the model that serves.
                _log_failure(entry.source, error)
                entry.reason = _REFUSED + _without_details(error)
                entry.reloads = replace(entry.reloads, failed=entry.reloads.failed + 1)
                return False
            old, entry.served, entry.reason = entry.served, fresh, ""
            entry.reloads = replace(entry.reloads, done=entry.reloads.done + 1)
            logger.info("model %r: version %d is served", name, entry.version)
            if old is not None:
                # Whoever waits here may be cancelled; those who are in the queue must not be.
                await asyncio.shield(self._retire(old))
        return True

    def forget_failure(self, name: str) -> None:
        """What lies at the path of a model is what is served, as after a change was undone."""
        entry = self._entries[name]
        if entry.state == READY:
            entry.reason = ""

    def end(self) -> None:
        """Be not ready from now on, and go on answering."""
        self._ending = True

    async def drain(self) -> None:
        """Take no more requests, answer those that have been taken, and close every model.

        `start` and `reload` have returned or been cancelled. How long the answers may take is for
        the caller to limit, by cancelling.
        """
        self.end()
        ending = [entry.served for entry in self._entries.values() if entry.served is not None]
        for entry in self._entries.values():
            entry.served, entry.state, entry.reason = None, UNAVAILABLE, "the server is ending"
        await _end(ending, *self._retiring)

    def _find(self, name: str, version: str | None) -> _Served:
        entry = self._entries.get(name)
        if entry is None:
            raise Refusal(NOT_FOUND, "no such model", f"there is no model {shown(name)}")
        if entry.served is None:
            message = f"model '{name}' is not ready: {entry.reason}"
            raise Refusal(NOT_READY, "not ready", message, _RETRY_AFTER)
        if version is not None and version != str(entry.version):
            message = f"model '{name}' has no version {shown(version)}, it has '{entry.version}'"
            raise Refusal(NOT_FOUND, "no such version", message)
        return entry.served

    async def _load_version(self, entry: _Entry, version: int) -> _Served:
        model = await asyncio.to_thread(self._load, entry.source, str(version))
        return _Served(model, self._make_queue(model))

    def _retire(self, served: _Served) -> asyncio.Task[None]:
        task = asyncio.create_task(_end([served]))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        return task


def _check(model: Loaded, request: InferRequest) -> None:
    """Refuse what would not run in the model that is served by now."""
    try:
        model.check(request.inputs)
    except InputError as error:
        message = f"model '{request.model}': {error.problem}; {error.remedy}"
        raise Refusal(BAD_REQUEST, "bad input", message) from error


async def _end(ending: Sequence[_Served], *others: asyncio.Task[None]) -> None:
    """Let queues run empty, and others end, and give the memory back."""
    try:
        await asyncio.gather(*(served.queue.drain() for served in ending), *others)
    finally:
        for served in ending:
            served.queue.close()
    for served in ending:
        await asyncio.to_thread(served.model.close)


def _log_failure(source: Source, error: Exception) -> None:
    if isinstance(error, NdDeployError):
        logger.error(
            "model %r: what now lies at %s is not served: %s (%s)",
            source.name,
            source.path,
            error.problem,
            error.remedy,
        )
    else:
        logger.error("model %r: loading %s failed", source.name, source.path, exc_info=error)


def _without_details(error: Exception) -> str:
    """For clients, who are not told of paths and libraries."""
    if isinstance(error, ParityError):
        return "it does not give the outputs of the trained network"
    if isinstance(error, BundleError):
        return "its files are not whole"
    return "it cannot be run as the server was asked to"
