"""Answers as Starlette has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response

from nd_deploy.serve.http.refusal_answer import JSON, refusal_headers
from nd_deploy.serve.protocol.compression import accepted_encoding, compressed
from nd_deploy.serve.protocol.errors import error_body
from nd_deploy.serve.refusal import Refusal


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


def body_response(
    headers: Mapping[str, str], parts: Sequence[bytes | memoryview], accepted: str | None
) -> Response:
    """An answer in parts, compressed if the client likes that and it pays.

    Args:
        headers: of the answer, without those of the body's length and encoding.
        parts: of the body, in order.
        accepted: the request's Accept-Encoding; None if it has none.
    """
    encoding = accepted_encoding(accepted)
    body = compressed(parts, encoding)
    if body is None or encoding is None:
        return Response(b"".join(parts), headers=headers)
    encoded = {"content-encoding": encoding, "vary": "accept-encoding"}
    return Response(body, headers={**headers, **encoded})
