"""A request's body, counted while it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd_deploy.serve.refusal import TOO_LARGE, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body of a request.

    A body that says that it is too large is refused before any of it is taken, and one that does
    not say so (a chunked one) once more than the limit has come.

    Args:
        request: whose body nothing has been read of.
        limit: bytes, as they come over the wire; of a compressed body before it is unpacked.

    Raises:
        Refusal: 413, it is larger than the limit.
        starlette.requests.ClientDisconnect: the client has gone before the end of the body.
    """
    announced = request.headers.get("content-length")
    if announced is not None and int(announced) > limit:
        raise _too_large(limit)
    chunks = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        TOO_LARGE, "body size", f"the body is larger than the {limit} bytes that are taken here"
    )
