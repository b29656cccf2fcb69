"""Where answers go out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from starlette.types import Message
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# Bytes of a body that are copied behind the head rather than sent from where they are.
_SMALL = 2**16


class Outlet(asyncio.Transport):
    """A transport that sends whole answers, and closes otherwise.

    uvicorn writes an answer's head and its body apart, which costs a call of the system and a
    packet each, and looks for what is not allowed in each header for itself.

    Args:
        transport: to write to.
        close: instead of the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self._start: Message = {}
        # Of what is not part of an answer, such as uvicorn's invitation to send the body.
        self.write = transport.write  # type: ignore[method-assign]
        self.is_closing = transport.is_closing  # type: ignore[method-assign]

    async def send(self, cycle: RequestResponseCycle, message: Message) -> None:
        """ASGI's `send`, of an answer whose body is one message.

        Args:
            cycle: of the request and its answer.
            message: of ASGI.

        Raises:
            RuntimeError: the body comes in pieces, or a header has line breaks in it.
        """
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if message["type"] == "http.response.start":
            cycle.response_started = True
            cycle.waiting_for_100_continue = False
            self._start = message
            return
        if cycle.response_complete or message.get("more_body", False):
            raise RuntimeError("an answer has to have one body")
        head = _head(cycle, self._start)
        body = b"" if cycle.scope["method"] == "HEAD" else message.get("body", b"")
        if len(body) <= _SMALL:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.close()
        cycle.on_response()

    def close(self) -> None:
        """Close as the connection wants it."""
        self._close()


def _head(cycle: RequestResponseCycle, start: Message) -> bytes:
    headers = [*cycle.default_headers, *start["headers"]]
    if not cycle.keep_alive:
        headers.append((b"connection", b"close"))
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise RuntimeError("a header of an answer has line breaks in it")
    return b"%b%b\r\n" % (STATUS_LINE[start["status"]], lines)
