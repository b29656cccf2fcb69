"""What is done around every call: its id, what is told of it, and how it fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import grpc  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from nd_deploy.serve.http.observation import Answered, Observe
from nd_deploy.serve.http.request_id import current, request_id
from nd_deploy.serve.refusal import FAULT, Refusal
from nd_deploy.serve.rpc.entry import Context, Entry, Metadata
from nd_deploy.serve.rpc.statuses import refuse

Answer: TypeAlias = Callable[[Message, Context], Awaitable[Message]]
Stream: TypeAlias = Callable[[Message, Context], Awaitable[None]]

_LOG = logging.getLogger(__name__)

_ID = "x-request-id"
_ANSWERED = 200
_GONE = 499


def answering(entry: Entry, answer: Answer, observe: Observe) -> grpc.RpcMethodHandler:
    """The handler of a method with one answer.

    To gRPC it takes a stream of requests, of which it reads one. On the wire that is the same, but
    gRPC hands over such a call when its headers have come: a client without the token, or one that
    sends slowly, is met before its request fills memory.

    Args:
        entry: how calls come in.
        answer: from a request to its answer.
        observe: told of every call.
    """

    async def call(_: object, context: Context) -> bytes:
        async with _framed(entry.path, context, observe) as metadata:
            answered = await answer(await entry.read(context, metadata), context)
            return bytes(answered.SerializeToString())
        raise AssertionError("a call that failed has been aborted")

    return grpc.stream_unary_rpc_method_handler(call)


def streaming(entry: Entry, stream: Stream, observe: Observe) -> grpc.RpcMethodHandler:
    """The handler of a method that writes answers for as long as the client listens.

    Args:
        entry: how calls come in.
        stream: writes the answers to a request.
        observe: told of every call, at its end.
    """

    async def call(_: object, context: Context) -> None:
        async with _framed(entry.path, context, observe) as metadata:
            await stream(await entry.read(context, metadata), context)

    return grpc.stream_stream_rpc_method_handler(
        call, response_serializer=lambda message: message.SerializeToString()
    )


@asynccontextmanager
async def _framed(path: str, context: Context, observe: Observe) -> AsyncIterator[Metadata]:
    """Name a call, end it if what is done within fails, and tell what became of it."""
    begun = time.perf_counter()
    metadata = dict(context.invocation_metadata())
    identifier = request_id(str(metadata.get(_ID, "")).encode())
    current.set(identifier)
    context.set_trailing_metadata(((_ID, identifier),))
    status, reason = _ANSWERED, ""
    try:
        yield metadata
    except (asyncio.CancelledError, grpc.aio.BaseError):
        # The client has gone, or sent too much; gRPC knows.
        status = _GONE
        raise
    except Exception as error:
        refusal = _as_refusal(error, identifier)
        status, reason = refusal.status, refusal.reason
        await refuse(context, refusal)
    finally:
        seconds = time.perf_counter() - begun
        observe(Answered("POST", path, status, seconds, identifier, _client(context), reason))


def _as_refusal(error: Exception, identifier: str) -> Refusal:
    """What a client is told of an error: of a fault no more than that; gRPC would tell it all."""
    if isinstance(error, Refusal):
        return error
    _LOG.error("call %s failed", identifier, exc_info=error)
    return Refusal(FAULT, "fault", "the server failed; its log says why")


def _client(context: Context) -> str:
    """The client's address, of gRPC's "ipv4:192.0.2.1:50000" or "ipv6:%5B::1%5D:50000"."""
    _, _, address = context.peer().partition(":")
    host, _, _ = address.rpartition(":")
    return str(host).replace("%5B", "").replace("%5D", "")
