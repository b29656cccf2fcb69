"""How far a request has come in, and how many bytes of it are of no use."""

from __future__ import annotations

from collections.abc import Iterable

from nd_deploy.serve.http import refusals

NOTHING, HEAD, BODY = range(3)
_PER_HEADER = len(b": \r\n")


class Reading:
    """What of a request is being read, within the limit of its headers.

    The parser keeps headers until they are complete, and trailers, and takes any number of empty
    lines. So all bytes count that bring a request no further.

    Args:
        limit: of a request's headers, in bytes.

    Attributes:
        part: NOTHING between requests, and otherwise HEAD or BODY.
    """

    def __init__(self, limit: int) -> None:
        self.part = NOTHING
        self._limit = limit
        self._size = 0
        self._further = False
        self._useless = 0

    def begin(self, size: int) -> None:
        """Note that so many bytes have come, which are about to be parsed."""
        self._size = size
        self._further = False

    def go_on(self, part: int) -> None:
        """Note that the client has sent all before this part, or some of it."""
        self.part = part
        self._further = True

    def end(self) -> None:
        """Count what has been parsed.

        Raises:
            Refusal: 431, too much of it was of no use.
        """
        if self._further:
            self._useless = 0
            return
        self._useless += self._size
        if self._useless > self._limit:
            raise refusals.headers_too_large(self._limit)
        if self.part == NOTHING:
            self.part = HEAD

    def check_headers(self, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Measure headers that have come.

        Raises:
            Refusal: 431, they are too large.
        """
        if self._useless + self._size <= self._limit:
            return
        sizes = (len(name) + len(value) + _PER_HEADER for name, value in headers)
        if len(url) + sum(sizes) > self._limit:
            raise refusals.headers_too_large(self._limit)
