"""Requests that offer to go over to another protocol, answered in HTTP/1.1.

A server may ignore the offer (RFC 9110, section 7.8), and clients count on that: Java's sends one
with every first request, and so does `curl --http2`. httptools takes what follows the headers for
the other protocol, though, so that the body would be lost.
"""

from __future__ import annotations

from collections.abc import Callable

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING = (b"content-length", b"transfer-encoding")


class PlainProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, without upgrades, and with its callbacks' exceptions."""

    # What a callback raised: the parser makes an error of its own of it, and whose context that
    # has depends on what else is being handled.
    _raised: Exception | None = None

    def feed(self, data: bytes) -> None:
        """Parse what has come.

        Raises:
            httptools.HttpParserError: it is no HTTP.
            Exception: whatever `on_head` or `on_piece` raises.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._parse_on()
            except httptools.HttpParserError:
                if self._raised is None:
                    raise
                raise self._raised from None
            else:
                return

    def _parse_on(self) -> None:
        """Go on after the headers of a request with an offer, as if it had made none."""
        framing = [b"%b: %b\r\n" % header for header in self.headers if header[0] in _FRAMING]
        listener = _Listener(self)
        self.parser = httptools.HttpRequestParser(listener)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        listener.listens = True

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        self._call(self.on_head)

    def on_head(self) -> None:
        """Start on a request whose headers have come."""
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """See uvicorn."""
        self._call(self.on_piece, body)

    def on_piece(self, body: bytes) -> None:
        """Keep a piece of a body."""
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See uvicorn."""
        if not self.parser.should_upgrade():
            self.on_end()

    def on_end(self) -> None:
        """Note that a request's body has come."""
        super().on_message_complete()

    def _call(self, callback: Callable[..., None], *arguments: bytes) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            self._raised = error
            raise


class _Listener:
    """Hears what a parser has to say of a connection, but not how the body comes, told to it again.

    Args:
        protocol: that hears it.

    Attributes:
        listens: whether anything is passed on.
    """

    def __init__(self, protocol: PlainProtocol) -> None:
        self.listens = False
        self._protocol = protocol

    def __getattr__(self, name: str) -> Callable[..., None]:
        callback: Callable[..., None] = getattr(self._protocol, name)

        def call(*arguments: bytes) -> None:
            if self.listens:
                callback(*arguments)

        return call
