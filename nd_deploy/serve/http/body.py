"""A request's body, counted while it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from nd_deploy.serve.refusal import TOO_LARGE, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body of a request; see `read_pieces`."""
    return await read_pieces(request.receive, request.headers.get("content-length"), limit)


async def read_pieces(receive: Receive, announced: str | None, limit: int) -> bytes:
    """The whole body of a request.

    A body that says that it is too large is refused before any of it is taken, and one that does
    not say so (a chunked one) once more than the limit has come.

    Args:
        receive: of ASGI; nothing of the body has been received.
        announced: the request's Content-Length, which the parser has found to be a number; None if
            it has none.
        limit: bytes, as they come over the wire; of a compressed body before it is unpacked.

    Raises:
        Refusal: 413, it is larger than the limit.
        starlette.requests.ClientDisconnect: the client has gone before the end of the body.
    """
    if announced is not None and int(announced) > limit:
        raise _too_large(limit)
    pieces = []
    total = 0
    is_more = True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        total += len(piece)
        if total > limit:
            raise _too_large(limit)
        pieces.append(piece)
        is_more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        TOO_LARGE, "body size", f"the body is larger than the {limit} bytes that are taken here"
    )
