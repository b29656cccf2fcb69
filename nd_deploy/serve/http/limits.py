"""What a connection may take: bytes of headers, seconds for headers and bodies, requests at once.

uvicorn limits none of these itself: a connection that sends nothing, or half a request, stays for
ever. The size of a body is limited by the routes (`nd_deploy.serve.http.body`), which know the
model.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import httptools

from nd_deploy.serve.http import refusals
from nd_deploy.serve.http.closing import Closing
from nd_deploy.serve.http.connections import Connections
from nd_deploy.serve.http.outlet import Outlet
from nd_deploy.serve.http.reading import BODY, HEAD, NOTHING, Reading
from nd_deploy.serve.http.refusal_answer import last_words
from nd_deploy.serve.http.upgrades import PlainProtocol
from nd_deploy.serve.refusal import Refusal
from nd_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_VERSIONS = ("1.1", "1.0")
# Requests that a client may send ahead of the answer to the first.
_AHEAD = 16
# Connections over the limit that are told so; any more are dropped without a word.
_TOLD = 64
# Bytes that are read of a refused body, so that its client comes to read the answer.
_THROWN_AWAY = 64 * 2**20


class LimitedProtocol(PlainProtocol):
    """uvicorn's protocol over httptools, within limits.

    A request whose client goes away is cancelled: the task that answers it gets a CancelledError.
    So is one that is cut off by a limit; the refusal is then in its scope's state, as "refusal".

    Args:
        config: of uvicorn.
        server_state: shared by all connections.
        app_state: see uvicorn.
        settings: for the limits.
        refused: told of each refusal of which no route hears.
    """

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        settings: Settings,
        refused: Callable[[Refusal], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.access_log = False
        self.timeout_keep_alive = settings.keep_alive  # type: ignore[assignment]
        self._route = self.app
        self.app = self._answer
        self._shared = server_state
        self._settings = settings
        self._refused = refused
        self._closing: Closing
        self._outlet: Outlet
        self._task: asyncio.Task[Any] | None = None
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._reading = Reading(settings.header_limit)
        # Whether whatever comes is thrown away.
        self._deaf = False
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    # Called by the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first headers their time, or refuse a connection too many."""
        super().connection_made(transport)
        settings = self._settings
        self._shared.none_left.clear()
        self._closing = Closing(transport, settings.keep_alive, settings.body_timeout, _THROWN_AWAY)
        self._outlet = Outlet(transport, self._close)
        excess = len(self.connections) - settings.connection_limit
        if excess > _TOLD:
            transport.abort()
        elif excess > 0:
            self._refuse(refusals.too_many_connections(settings.connection_limit))
        else:
            self._expect(settings.header_timeout)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and refuse what goes beyond a limit."""
        self._unset_keepalive_if_required()
        if self._deaf:
            self._closing.discard(len(data))
            return
        self._reading.begin(len(data))
        try:
            self._parse(data)
            self._reading.end()
        except Refusal as refusal:
            self._refuse(refusal)
        else:
            self._expect_next()

    def pause_writing(self) -> None:
        """Give a client that takes no more of its answers some time."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self._settings.keep_alive, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, as the client does."""
        super().resume_writing()
        _stop(self._stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what nobody waits for any more."""
        self._closing.done()
        for timer in (self._late, self._stalled, self.timeout_keep_alive_task):
            _stop(timer)
        while self._unanswered:
            self._abandon(refusals.client_gone())
        super().connection_lost(exc)
        if not self.connections:
            self._shared.none_left.set()

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Give headers their time."""
        self._reading.part = HEAD
        if self._late is not None:
            self._stop_late()
        super().on_message_begin()

    def on_head(self) -> None:
        """Queue a request whose headers have come."""
        self._check_head()
        self._go_on(BODY)
        super().on_head()
        self.cycle.transport = self._outlet
        self.cycle.keep_alive &= not self._shared.ending
        self._unanswered.append(self.cycle)

    def on_piece(self, body: bytes) -> None:
        """Keep a piece of a body, or throw it away if the request is answered already."""
        self._reading.go_on(BODY)
        if not self.cycle.response_complete:
            super().on_piece(body)
        elif not self._closing.discard(len(body)):
            raise refusals.body_unended()

    def on_end(self) -> None:
        """Expect nothing more for now."""
        self._go_on(NOTHING)
        super().on_end()

    # Called by the requests' cycles.

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        self._task = asyncio.current_task()
        try:
            # uvicorn's own is a method of the request's cycle.
            await self._route(scope, receive, partial(self._outlet.send, send.__self__))
        except asyncio.CancelledError:
            # uvicorn would log it as a fault.
            return

    def on_response_complete(self) -> None:
        """Go on with the next request, unless nothing more is answered here."""
        answered = self._unanswered.popleft()
        if answered.more_body and self.expect_100_continue:
            # The client may or may not send the body now, and what it does cannot be told apart.
            self._close()
        if not self._closing.begun:
            super().on_response_complete()
            self._expect_next()

    def _close(self) -> None:
        self._closing.begin(client_is_done=self._reading.part == NOTHING and not self._deaf)
        self._deaf = True
        self._stop_late()
        self.flow.resume_reading()

    # Called by the server, and by time.

    def end(self) -> None:
        """Let the answer to what has been asked be the last."""
        if self._unanswered:
            self._unanswered[-1].keep_alive = False

    def shutdown(self) -> None:
        """Close once all is answered that the client has begun to ask."""
        if self._unanswered:
            self.end()
        elif self._reading.part != HEAD or self._closing.begun:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        self._close()

    def _is_late(self) -> None:
        if self._reading.part == BODY:
            self._refuse(refusals.too_late("body", self._settings.body_timeout))
        else:
            self._refuse(refusals.too_late("headers", self._settings.header_timeout))

    # What the client is expected to send, and when.

    def _go_on(self, part: int) -> None:
        self._reading.go_on(part)
        if self._late is not None:
            self._stop_late()

    def _expect_next(self) -> None:
        if self._deaf:
            return
        if self._reading.part == NOTHING:
            if not self._unanswered and self.timeout_keep_alive_task is None:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self._settings.keep_alive, self.timeout_keep_alive_handler
                )
        elif self._late is None and not self.pipeline:
            settings = self._settings
            head = self._reading.part == HEAD
            self._expect(settings.header_timeout if head else settings.body_timeout)

    def _expect(self, seconds: float) -> None:
        self._late = self.loop.call_later(seconds, self._is_late)

    def _stop_late(self) -> None:
        _stop(self._late)
        self._late = None

    # Refusals.

    def _parse(self, data: bytes) -> None:
        try:
            self.feed(data)
        except httptools.HttpParserCallbackError:
            # A fault of this program, not of the client.
            raise
        except httptools.HttpParserError:
            raise refusals.no_http() from None

    def _check_head(self) -> None:
        if self.parser.get_http_version() not in _VERSIONS:
            raise refusals.no_http()
        if not self.url.startswith(b"/"):
            raise refusals.no_path()
        if len(self._unanswered) > _AHEAD:
            raise refusals.too_many_ahead(_AHEAD)
        self._reading.check_headers(self.url, self.headers)

    def _refuse(self, refusal: Refusal) -> None:
        self._deaf = True
        self._stop_late()
        heard = False
        if self._reading.part == BODY:
            if self.cycle.response_started:
                self.transport.abort()
                return
            heard = self._abandon(refusal)
        if not heard:
            self._refused(refusal)
        if self._unanswered:
            self.end()
        else:
            self.transport.write(last_words(refusal, self.server_state.default_headers))
            self._close()

    def _abandon(self, refusal: Refusal) -> bool:
        """Answer the newest request no more.

        Returns:
            Whether it was being answered.
        """
        cycle = self._unanswered.pop()
        cycle.scope["state"]["refusal"] = refusal
        cycle.disconnected = True
        cycle.message_event.set()
        if self.pipeline:
            self.pipeline.popleft()
            return False
        if self._task is not None:
            self._task.cancel()
        return True


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
