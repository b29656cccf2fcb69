"""The server put together: models, their queues, REST, gRPC, images, metrics, logs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nd_deploy.serve.batching.batching_queue import BatchingQueue
from nd_deploy.serve.counted import CountedService
from nd_deploy.serve.exchange import Service
from nd_deploy.serve.http.app import make_app
from nd_deploy.serve.http.handlers import Extras
from nd_deploy.serve.http.life import Part
from nd_deploy.serve.http.observation import Answered
from nd_deploy.serve.http.server import Server
from nd_deploy.serve.images.decoder import Decoder
from nd_deploy.serve.images.routes import MODELS_PATH, classify_handler, models_handler
from nd_deploy.serve.logs import log_access
from nd_deploy.serve.metrics.exposition import Collector
from nd_deploy.serve.metrics.route import metrics_handler
from nd_deploy.serve.metrics.tally import Tally
from nd_deploy.serve.models.loading import load_source
from nd_deploy.serve.models.queue_protocol import Model
from nd_deploy.serve.models.reload import Watch
from nd_deploy.serve.models.repository import ModelRepository
from nd_deploy.serve.models.source import Source
from nd_deploy.serve.page.routes import page_handlers
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Application:
    """What answers requests, before it listens anywhere.

    Attributes:
        app: of ASGI.
        service: behind it, for gRPC.
        parts: that have to start and end with it, in order.
        observe: to be told of what is answered elsewhere than by `app`.
        refused: to be told of what is refused before `app` hears of it.
        watch: looks at once whether a bundle has changed.
    """

    app: ASGIApp
    service: Service
    parts: tuple[Part, ...]
    observe: Callable[[Answered], None]
    refused: Callable[[Refusal], None]
    watch: Watch


def make_application(sources: Sequence[Source], settings: Settings) -> Application:
    """Put everything together that serves some bundles; nothing is loaded yet.

    Args:
        sources: the bundles.
        settings: the limits.

    Raises:
        InputError: two have one name, or a name does not fit into a URL.
        MissingDependencyError: a package of the extra `serve` is not installed.
    """
    tallies = {source.name: Tally() for source in sources}

    def queue_of(model: Model) -> BatchingQueue:
        return BatchingQueue(model, settings, tallies[model.spec.name])

    load = functools.partial(load_source, settings=settings)
    repository = ModelRepository(sources, queue_of, load)
    service = CountedService(repository, tallies)
    watch = Watch(repository, settings.reload_interval)
    decoder = Decoder(settings)
    refusals: Counter[str] = Counter()

    def observe(answered: Answered) -> None:
        if answered.reason:
            refusals[answered.reason] += 1
        if settings.access_log:
            log_access(answered)

    def refused(refusal: Refusal) -> None:
        refusals[refusal.reason] += 1

    page = page_handlers()
    extras = Extras(
        metrics=metrics_handler(Collector(service.accounts, refusals)),
        classify=classify_handler(service, settings, decoder),
        page={**page, MODELS_PATH: models_handler(service, settings)},
        # Whoever opens an address in a browser cannot show a token; the page asks for it.
        for_anyone=frozenset(page),
    )
    return Application(
        make_app(service, settings, extras, observe),
        service,
        (_models_part(repository, watch, settings), _decoder_part(decoder)),
        observe,
        refused,
        watch,
    )


def make_server(
    sources: Sequence[Source],
    settings: Settings,
    ready: Callable[[Server, int | None], None] = lambda server, port: None,
) -> Server:
    """A server of bundles, which listens from now on.

    Args:
        sources: the bundles.
        settings: the addresses and the limits.
        ready: called with the server and the port of gRPC, if there is one, when all is ready.

    Raises:
        InputError: as of `make_application`, or the address cannot be listened on.
        MissingDependencyError: as of `make_application`.
    """
    application = make_application(sources, settings)
    parts = (*application.parts, _hangup_part(application.watch))
    rpc: list[int] = []
    if settings.grpc_port is not None:
        parts += (_rpc_part(application, settings, rpc.append),)
    server = Server(
        application.app,
        settings,
        parts,
        lambda: ready(server, rpc[0] if rpc else None),
        application.refused,
    )
    return server


def make_asgi(bundles: Sequence[Path], settings: Settings) -> ASGIApp:
    """The server's application for another server, such as Ray Serve's proxy, to run.

    Args:
        bundles: folders, each served under its own name.
        settings: the limits; those of connections are the other server's.

    Returns:
        An ASGI application with a lifespan, in which the models are loaded and drained.

    Raises:
        InputError, MissingDependencyError: as of `make_application`.
    """
    sources = [Source(path.resolve().name, path) for path in bundles]
    return _WithLifespan(make_application(sources, settings), settings)


class _WithLifespan:
    """An application that starts and ends its parts as ASGI's lifespan says."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self._application = application
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._application.app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            for part in self._application.parts:
                await part.start()
        except Exception as error:
            await self._close()
            await send(_lifespan("startup.failed", message=str(error)))
            return
        await send(_lifespan("startup.complete"))
        await receive()
        for part in self._application.parts:
            part.end()
        for part in self._application.parts:
            await part.finish(self._settings.drain_timeout)
        await self._close()
        await send(_lifespan("shutdown.complete"))

    async def _close(self) -> None:
        for part in reversed(self._application.parts):
            await part.close()


def _lifespan(event: str, **more: str) -> Message:
    return {"type": f"lifespan.{event}", **more}


def _models_part(repository: ModelRepository, watch: Watch, settings: Settings) -> Part:
    watching: list[asyncio.Task[None]] = []

    async def start() -> None:
        await repository.start()
        watching.append(asyncio.create_task(watch.run()))

    async def finish(seconds: float) -> None:
        # Requests that HTTP and gRPC have taken are answered first: they end on their own.
        await _cancel(watching)

    async def close() -> None:
        await _cancel(watching)
        try:
            await asyncio.wait_for(repository.drain(), settings.drain_timeout)
        except asyncio.TimeoutError:
            logger.error("a model still ran %g s after its last request", settings.drain_timeout)

    return Part(start, repository.end, finish, close)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    while tasks:
        task = tasks.pop()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _hangup_part(watch: Watch) -> Part:
    """Lets SIGHUP, which would end the process, ask for a look at the bundles."""

    async def start() -> None:
        if _takes_hangups():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, watch.look_now)

    async def close() -> None:
        if _takes_hangups():
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    return Part(start, close=close)


def _takes_hangups() -> bool:
    """Whether the system has this signal, and this thread is told of it."""
    return hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread()


def _rpc_part(
    application: Application, settings: Settings, listening: Callable[[int], None]
) -> Part:
    from nd_deploy.serve.rpc.server import GrpcServer, start

    running: list[GrpcServer] = []

    async def begin() -> None:
        running.append(await start(application.service, settings, application.observe))
        listening(running[0].port)

    async def finish(seconds: float) -> None:
        for server in running:
            await server.stop(seconds)

    async def close() -> None:
        for server in running:
            await server.stop(0)

    return Part(begin, finish=finish, close=close)


def _decoder_part(decoder: Decoder) -> Part:
    async def close() -> None:
        decoder.close()

    return Part(close=close)
