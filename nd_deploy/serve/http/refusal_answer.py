"""A refusal as HTTP has it, without an application."""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from nd_deploy.serve.protocol.errors import error_body
from nd_deploy.serve.refusal import UNAUTHORIZED, Refusal

JSON = "application/json"


def refusal_headers(refusal: Refusal) -> dict[str, str]:
    """The headers that go with a refusal, besides those of its body."""
    headers = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.status == UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return headers


def last_words(refusal: Refusal, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A refusal as the last answer of a connection.

    Args:
        refusal: to be told.
        headers: of every answer, such as the date.

    Returns:
        Status line, headers and body.
    """
    body = error_body(refusal)
    lines = {
        "content-type": JSON,
        "content-length": str(len(body)),
        "connection": "close",
        **refusal_headers(refusal),
    }
    own = (f"{name}: {value}\r\n".encode("ascii") for name, value in lines.items())
    common = (b"%b: %b\r\n" % header for header in headers)
    return b"".join([STATUS_LINE[refusal.status], *common, *own, b"\r\n", body])
