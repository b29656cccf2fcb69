"""What uvicorn's request cycles write to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_HEAD = b"HTTP/1.1 "
# Says that the body may come, so it cannot wait for one.
_INTERIM = b"HTTP/1.1 1"


class Outlet(asyncio.Transport):
    """A transport that sends the head of an answer with its body, and closes otherwise.

    uvicorn writes the two apart, which costs a call of the system and a packet each.

    Args:
        transport: to write to.
        close: instead of the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self._close = close
        self._head = b""
        self.is_closing = transport.is_closing  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, unless it is the head of an answer, which waits for what comes next."""
        start = bytes(data[: len(_INTERIM)])
        if self._head:
            self._transport.writelines((self._head, data))
            self._head = b""
        elif start.startswith(_HEAD) and start != _INTERIM:
            self._head = bytes(data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Send what is left, and close."""
        self.flush()
        self._close()
