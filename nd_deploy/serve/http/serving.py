"""Connections, from the first to the last."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING

from uvicorn import Config

from nd_deploy.serve.http.connections import Connections
from nd_deploy.serve.http.last_connections import anyone_waits, begin_no_more
from nd_deploy.serve.http.limits import LimitedProtocol
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Seconds in which a client that is about to use a connection again has done so.
_LAST_CHANCE = 0.5
# Seconds for telling clients that their requests are cut off.
_FAREWELL = 1.0
# Seconds in which a client that has begun to connect has done so.
_HANDSHAKE = 0.02
# Of the loop, each of which accepts many connections, unless descriptors have run out.
_TURNS = 100


class Serving:
    """An ASGI application served on a socket.

    Args:
        app: to be served.
        settings: the limits.
        refused: see `LimitedProtocol`.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, refused: Callable[[Refusal], None]
    ) -> None:
        self._settings = settings
        self._refused = refused
        self._config = Config(
            app,
            http=LimitedProtocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        self._config.load()
        self._connections = Connections()
        self._listener: socket.socket | None = None
        self._server: asyncio.AbstractServer | None = None
        self._clock: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections, and answer requests.

        Args:
            listener: that listens; it is closed with the server.
        """
        loop = asyncio.get_running_loop()
        self._listener = listener
        self._clock = loop.create_task(self._keep_date())
        self._server = await loop.create_server(self._connection, sock=listener)

    def _connection(self) -> LimitedProtocol:
        return LimitedProtocol(self._config, self._connections, {}, self._settings, self._refused)

    async def _keep_date(self) -> None:
        """Have answers say when they were given (RFC 9110, section 6.6.1)."""
        while True:
            self._connections.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            await asyncio.sleep(1)

    def end(self) -> None:
        """Tell clients, with each answer, that they have to connect anew. All is still answered."""
        self._connections.ending = True
        for connection in self._open():
            connection.end()

    async def finish(self, seconds: float) -> int:
        """Accept no more connections, and answer what is asked on those there are.

        A connection without a request is not closed at once: one may be on its way.

        Args:
            seconds: after which requests are cut off.

        Returns:
            How many were.
        """
        await self._accept_last()
        self._stop_listening()
        chance = min(_LAST_CHANCE, seconds)
        await self._wait_for_last(chance)
        for connection in self._open():
            connection.shutdown()
        await self._wait_for_last(seconds - chance)
        # A task without a connection has been cancelled, and is not yet done.
        cut_off = len(self._connections.tasks) if self._connections.connections else 0
        for task in list(self._connections.tasks):
            task.cancel()
        await self._wait_for_last(_FAREWELL)
        return cut_off

    async def _accept_last(self) -> None:
        if self._listener is None:
            return
        # Where this is not allowed, clients that connect right now see their connections reset.
        with contextlib.suppress(OSError):
            begin_no_more(self._listener)
        await asyncio.sleep(_HANDSHAKE)
        for _ in range(_TURNS):
            if not anyone_waits(self._listener):
                return
            await asyncio.sleep(0)

    async def _wait_for_last(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._connections.none_left.wait(), seconds)

    def close(self) -> None:
        """Cut all connections that are left."""
        self._stop_listening()
        if self._clock is not None:
            self._clock.cancel()
        for connection in self._open():
            connection.transport.abort()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    def _open(self) -> list[LimitedProtocol]:
        return [each for each in self._connections.connections if isinstance(each, LimitedProtocol)]
