"""Answers, as Starlette has them and as ASGI does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from nd_deploy.serve.http.refusal_answer import JSON, refusal_headers
from nd_deploy.serve.protocol.compression import accepted_encoding, compressed
from nd_deploy.serve.protocol.errors import error_body
from nd_deploy.serve.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import Send


def json_response(document: object, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(document), status, media_type=JSON)


def refusal_response(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that is refused.

    Args:
        refusal: to be told.
        headers: besides those that go with it.
    """
    own = {**refusal_headers(refusal), **(headers or {})}
    return Response(error_body(refusal), refusal.status, own, media_type=JSON)


async def send_parts(
    send: Send,
    headers: Mapping[str, str],
    parts: Sequence[bytes | memoryview],
    accepted: str | None,
) -> None:
    """Answer in parts, compressed if the client likes that and it pays.

    Args:
        send: of ASGI.
        headers: of the answer, by their names in lower case, without those of the body's length and
            encoding.
        parts: of the body, in order.
        accepted: the request's Accept-Encoding; None if it has none.
    """
    encoding = accepted_encoding(accepted)
    body = compressed(parts, encoding)
    own = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    if body is None or encoding is None:
        body = b"".join(parts)
    else:
        own += [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
    own.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": own})
    await send({"type": "http.response.body", "body": body})
