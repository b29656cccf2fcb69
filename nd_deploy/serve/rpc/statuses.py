"""How a refusal reaches a gRPC client."""

from __future__ import annotations

from typing import NoReturn

import grpc  # type: ignore[import-untyped]

from nd_deploy.serve import refusal
from nd_deploy.serve.refusal import Refusal

_CODES = {
    refusal.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    refusal.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    refusal.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    refusal.METHOD_NOT_ALLOWED: grpc.StatusCode.UNIMPLEMENTED,
    refusal.TIMED_OUT_SENDING: grpc.StatusCode.DEADLINE_EXCEEDED,
    refusal.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    refusal.UNSUPPORTED_ENCODING: grpc.StatusCode.INVALID_ARGUMENT,
    refusal.UNPROCESSABLE: grpc.StatusCode.INVALID_ARGUMENT,
    refusal.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    refusal.FAULT: grpc.StatusCode.INTERNAL,
    refusal.NOT_READY: grpc.StatusCode.UNAVAILABLE,
    refusal.DEADLINE_PASSED: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Clients that retry by themselves wait so long before they do (gRPC proposal A6).
_RETRY_AFTER_MS = "grpc-retry-pushback-ms"


async def refuse(context: grpc.aio.ServicerContext, refused: Refusal) -> NoReturn:
    """End a call with a refusal.

    Raises:
        grpc.aio.AbortError: always; gRPC takes it for the end of the call.
    """
    if refused.retry_after is not None:
        retry = (_RETRY_AFTER_MS, str(1000 * refused.retry_after))
        context.set_trailing_metadata((*context.trailing_metadata(), retry))
    await context.abort(_CODES[refused.status], refused.message)
    raise AssertionError("abort does not return")
